"""Triggers, indexes and first rows of an OMERO database, from the Velocity template in the server's jar.

The template has a dozen ``#foreach`` blocks over OMERO's model description. Instead of re-implementing Velocity and
the model classes, each block is recognised by what it writes, and its text is made from the exported tables, which hold
the same facts: foreign keys, ordered collections, tables of maps, pairs of value and unit. Pure functions, no I/O. Used
by ``schema``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleet_stack.console import StackError

IDENTIFIER_LENGTH: Final = 63  # PostgreSQL cuts longer names

# As in the original, bookkeeping columns get no index.
NOT_INDEXED: Final = frozenset({"creation_id", "update_id", "external_id"})

LINK_SUFFIX: Final = "annotationlink"

MAP_TRIGGER: Final = """
CREATE FUNCTION {table}_map_entry_delete_trigger_function() RETURNS "trigger" AS '
BEGIN
    DELETE FROM {table} WHERE {column} = OLD.{key};
    RETURN OLD;
END;' LANGUAGE plpgsql;
CREATE TRIGGER {table}_map_entry_delete_trigger BEFORE DELETE ON {holder}
    FOR EACH ROW EXECUTE PROCEDURE {table}_map_entry_delete_trigger_function();"""

UNIT_CHECK: Final = (
    "ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_unitpair CHECK"
    " ({column} IS NULL AND {column}Unit IS NULL OR {column} IS NOT NULL AND {column}Unit IS NOT NULL);"
)


@dataclass(frozen=True, slots=True)
class Tables:
    """What the exported CREATE and ALTER TABLE statements say.

    Attributes:
        columns: The columns of every table, in order.
        keys: The first column of the primary key of every table that has one.
        foreign: Table and column of every foreign key.
        classes: OMERO's class of a table, such as ``image`` to ``ome.model.core.Image``.
    """

    columns: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, str]
    foreign: tuple[tuple[str, str], ...]
    classes: Mapping[str, str]

    @classmethod
    def of(cls, exported: str, classes: Sequence[str]) -> Tables:
        """Read the statements that Hibernate exported, one per line and ended by ``;;``."""
        columns, keys = {}, {}
        for table, body in re.findall(r"create table (\S+) \((.*)\);;", exported):
            fields, _, key = body.partition(", primary key (")
            columns[table] = tuple(field.split()[0] for field in fields.split(", "))
            if key:
                keys[table] = re.split(r"[,)]", key)[0]
        return cls(columns, keys, _foreign_keys(exported), {name.rsplit(".", 1)[1].lower(): name for name in classes})

    def with_sequence(self) -> Iterator[str]:
        """Tables of types without a superclass: these count their own ids."""
        return (t for t, fields in self.columns.items() if self.keys.get(t) == "id" and "permissions" in fields)

    def annotated(self) -> Iterator[tuple[str, str]]:
        """Table and class of the types that can carry annotations."""
        bases = (table.removesuffix(LINK_SUFFIX) for table in self.columns if table.endswith(LINK_SUFFIX))
        return ((base, self.classes[base]) for base in bases if base in self.classes)

    def ordered(self) -> Iterator[tuple[str, str]]:
        """Table and column where ``<column>_index`` keeps the order of a collection."""
        return self._beside("_index")

    def units(self) -> Iterator[tuple[str, str]]:
        """Table and column where ``<column>Unit`` holds the unit."""
        return self._beside("Unit")

    def _beside(self, suffix: str) -> Iterator[tuple[str, str]]:
        return ((t, c) for t, fields in self.columns.items() for c in fields if c + suffix in fields)

    def maps(self) -> Iterator[tuple[str, str, str]]:
        """Table of a map, its column that points at the holder, the holder's table."""
        found = ((t, fields) for t, fields in self.columns.items() if fields[1:] == ("name", "value", "index"))
        return ((table, fields[0], table.split("_", maxsplit=1)[0]) for table, fields in found)


Enums = Sequence[tuple[str, str]]
Expansion = Callable[[str, Tables, Enums], list[str]]


def expand(template: str, tables: Tables, enums: Enums) -> str:
    """The template with every block written out.

    Args:
        template: The text of ``templates/psql-footer.vm``.
        tables: What the blocks are about.
        enums: Class and value of every row of an enumeration.

    Raises:
        StackError: The template has a block that is not known here, so it is of another version of OMERO.
    """
    return "\n".join(
        "\n".join(_expansion(part)(part, tables, enums)) if is_block else part for is_block, part in split(template)
    )


def split(template: str) -> Iterator[tuple[bool, str]]:
    """The template as plain text (False) and whole ``#foreach`` blocks with those inside (True), without comments."""
    plain: list[str] = []
    lines = iter(template.split("\n"))
    for line in lines:
        word = line.lstrip()
        if word.startswith("#foreach"):
            yield False, "\n".join(plain)
            yield True, _whole_block(line, lines)
            plain = []
        elif not word.startswith("##"):
            plain.append(line)
    yield False, "\n".join(plain)


def _whole_block(first: str, rest: Iterator[str]) -> str:
    block, depth = [first], 1
    while depth:
        block.append(next(rest))
        word = block[-1].strip()
        depth += word.startswith(("#foreach", "#if")) - (word == "#end")
    return "\n".join(block)


def _foreign_keys(exported: str) -> tuple[tuple[str, str], ...]:
    pattern = r"alter table (\S+) add constraint \S+ foreign key \((\S+)\) references"
    # The tables count_X_Y_by_owner are replaced by views.
    return tuple(pair for pair in re.findall(pattern, exported) if not pair[0].startswith("count_"))


def _body(block: str) -> str:
    return "\n".join(line for line in block.split("\n") if not line.lstrip().startswith("#"))


def _order(block: str, tables: Tables, _: Enums) -> list[str]:
    body = _body(block)
    return [body.replace("${tbl_name}", table).replace("${col_name}", column) for table, column in tables.ordered()]


def _indexes(_block: str, tables: Tables, _: Enums) -> list[str]:
    wanted = [(table, column) for table, column in tables.foreign if column not in NOT_INDEXED]
    return [f"CREATE INDEX {_index_name(table, column)} ON {table}({column});" for table, column in wanted]


def _index_name(table: str, column: str) -> str:
    return f"i_{table}_{column}".replace('"', "").lower()[:IDENTIFIER_LENGTH]


def _sequences(block: str, tables: Tables, _: Enums) -> list[str]:
    return [_body(block).replace("${table}", table) for table in tables.with_sequence()]


def _enumerations(_block: str, _tables: Tables, enums: Enums) -> list[str]:
    named = [(name.rsplit(".", 1)[1].lower(), value) for name, value in enums]
    insert = "insert into {0} (id,permissions,value) select ome_nextval('seq_{0}'),-52,'{1}';"
    return [insert.format(table, value) for table, value in named]


def _annotations(block: str, tables: Tables, _: Enums) -> list[str]:
    body = _body(block)
    return [
        body.replace("${type.tableName()}", table).replace("${type.id}", name) for table, name in tables.annotated()
    ]


def _map_triggers(_block: str, tables: Tables, _: Enums) -> list[str]:
    return [
        MAP_TRIGGER.format(table=table, column=column, holder=holder, key=tables.keys[holder])
        for table, column, holder in tables.maps()
    ]


def _map_indexes(_block: str, tables: Tables, _: Enums) -> list[str]:
    statement = "CREATE INDEX {0}_{1} ON {0}({1});"
    return [statement.format(table, column) for table, _, _ in tables.maps() for column in ("name", "value")]


def _map_types(_block: str, tables: Tables, _: Enums) -> list[str]:
    statement = "ALTER TABLE {0} ALTER COLUMN {1} TYPE TEXT;"
    return [statement.format(table, column) for table, _, _ in tables.maps() for column in ("name", "value")]


def _unit_checks(_block: str, tables: Tables, _: Enums) -> list[str]:
    return [UNIT_CHECK.format(table=table, column=column) for table, column in tables.units()]


# What a block contains, and what it is made into; the first match counts.
EXPANSIONS: Final[Sequence[tuple[str, Expansion]]] = (
    ("_index_move()", _order),
    ("CREATE INDEX i_${tbl_name}_owner", _indexes),
    ("CREATE SEQUENCE seq_", _sequences),
    ("ome.dsl.EntryField", _enumerations),
    ("${type.annotated}", _annotations),
    ("_map_entry_delete_trigger_function", _map_triggers),
    ("_name ON ${type.tableName()}_", _map_indexes),
    ("ALTER COLUMN name TYPE TEXT", _map_types),
    ("_unitpair", _unit_checks),
)


def _expansion(block: str) -> Expansion:
    for mark, expansion in EXPANSIONS:
        if mark in block:
            return expansion
    raise StackError(f"this OMERO has a part in its SQL template that is not known here:\n{block[:400]}")
