"""The SQL of an empty OMERO database: OMERO's template is filled in from the tables that Hibernate exported."""

from __future__ import annotations

import pytest

from fleet_stack.console import StackError
from fleet_stack.omero import schema
from fleet_stack.omero.footer import Tables, expand, split

EXPORTED = (
    "create table image (id int8 not null, permissions int8 not null, name varchar(255),"
    " owner_id int8, creation_id int8, primary key (id));;\n"
    "create table imageannotationlink (id int8 not null, permissions int8 not null, parent int8, primary key (id));;\n"
    "create table noannotationlink (id int8 not null, primary key (id));;\n"
    "create table pixels (id int8 not null, image int8 not null, image_index int4 not null, physicalSizeX float8,"
    " physicalSizeXUnit physical_unit, primary key (id));;\n"
    "create table annotation_mapvalue (annotation_id int8 not null, name varchar(255), value varchar(255),"
    " index int4 not null, primary key (annotation_id, index));;\n"
    "create table annotation (id int8 not null, permissions int8 not null, primary key (id));;\n"
    "create table count_image_by_owner (owner int8 not null, count int8);;\n"
    "alter table image add constraint FKimage_owner foreign key (owner_id) references experimenter;;\n"
    "alter table image add constraint FKimage_creation foreign key (creation_id) references event;;\n"
    "alter table count_image_by_owner add constraint FKcount foreign key (owner) references experimenter;;\n"
)
TABLES = Tables.of(EXPORTED, ["ome.model.core.Image", "ome.model.annotations.Annotation"])
ENUMS = [("ome.model.enums.Format", "TIFF"), ("ome.model.enums.Format", "OME-TIFF")]


def block(*lines: str) -> str:
    return "\n".join(("#foreach($x in $xs)", *lines, "#end"))


def expanded(*lines: str) -> str:
    return expand(block(*lines), TABLES, ENUMS).strip()


class TestTables:
    def test_columns_and_keys_are_read_from_the_export(self) -> None:
        assert TABLES.columns["pixels"] == ("id", "image", "image_index", "physicalSizeX", "physicalSizeXUnit")
        assert TABLES.keys["annotation_mapvalue"] == "annotation_id"

    def test_a_table_without_a_key_has_none(self) -> None:
        assert "count_image_by_owner" not in TABLES.keys

    def test_counting_tables_become_views_so_their_foreign_keys_are_left_out(self) -> None:
        assert TABLES.foreign == (("image", "owner_id"), ("image", "creation_id"))

    def test_types_of_their_own_count_their_ids(self) -> None:
        assert list(TABLES.with_sequence()) == ["image", "imageannotationlink", "annotation"]

    def test_only_classes_of_the_model_can_be_annotated(self) -> None:
        assert list(TABLES.annotated()) == [("image", "ome.model.core.Image")]

    def test_an_index_column_keeps_the_order_of_a_collection(self) -> None:
        assert list(TABLES.ordered()) == [("pixels", "image")]

    def test_a_unit_column_belongs_to_its_value(self) -> None:
        assert list(TABLES.units()) == [("pixels", "physicalSizeX")]

    def test_a_table_of_names_and_values_is_a_map(self) -> None:
        assert list(TABLES.maps()) == [("annotation_mapvalue", "annotation_id", "annotation")]


class TestTemplate:
    def test_text_and_blocks_alternate_and_comments_are_left_out(self) -> None:
        template = "before\n## a comment\n" + block("inside") + "\nafter"
        assert list(split(template)) == [(False, "before"), (True, block("inside")), (False, "after")]

    def test_a_nested_block_stays_inside_its_block(self) -> None:
        nested = block("#if($y)", "  #foreach($z in $zs)", "deep", "  #end", "#end")
        assert [part for is_block, part in split(nested) if is_block] == [nested]

    def test_an_unknown_block_is_refused_by_its_text(self) -> None:
        with pytest.raises(StackError, match=r"(?s)not known here.*CREATE MAGIC"):
            expanded("CREATE MAGIC;")


class TestBlocks:
    def test_a_collection_gets_a_function_that_moves_its_order(self) -> None:
        made = expanded("CREATE FUNCTION ${tbl_name}_${col_name}_index_move() ...")
        assert made == "CREATE FUNCTION pixels_image_index_move() ..."

    def test_foreign_keys_get_an_index_but_for_bookkeeping(self) -> None:
        made = expanded("CREATE INDEX i_${tbl_name}_owner ON ${tbl_name}(owner_id);")
        assert made == "CREATE INDEX i_image_owner_id ON image(owner_id);"

    def test_index_names_fit_postgresql(self) -> None:
        long = Tables.of(
            f"create table {'t' * 60} (id int8);;\n"
            f"alter table {'t' * 60} add constraint FK1 foreign key (owner_id) references experimenter;;\n",
            [],
        )
        name = expand(block("CREATE INDEX i_${tbl_name}_owner"), long, []).split()[2]
        assert name == "i_" + "t" * 60 + "_"

    def test_every_type_gets_its_sequence(self) -> None:
        made = expanded("CREATE SEQUENCE seq_${table};").split("\n")
        assert made == [f"CREATE SEQUENCE seq_{table};" for table in ("image", "imageannotationlink", "annotation")]

    def test_enumerations_get_their_rows(self) -> None:
        made = expanded("#if($field.class.name == 'ome.dsl.EntryField')", "insert ...", "#end").split("\n")
        assert made[1] == ("insert into format (id,permissions,value) select ome_nextval('seq_format'),-52,'OME-TIFF';")
        assert len(made) == 2

    def test_annotated_types_are_named_by_table_and_class(self) -> None:
        made = expanded("#if(${type.annotated})", "T ${type.tableName()} C ${type.id}", "#end")
        assert made == "T image C ome.model.core.Image"

    def test_a_map_is_emptied_before_its_holder_is_deleted(self) -> None:
        made = expanded("CREATE FUNCTION x_map_entry_delete_trigger_function()")
        assert "DELETE FROM annotation_mapvalue WHERE annotation_id = OLD.id;" in made
        assert "BEFORE DELETE ON annotation\n" in made

    def test_maps_are_indexed_by_name_and_value(self) -> None:
        made = expanded("CREATE INDEX ${type.tableName()}_name ON ${type.tableName()}_x(name);").split("\n")
        assert made == [
            "CREATE INDEX annotation_mapvalue_name ON annotation_mapvalue(name);",
            "CREATE INDEX annotation_mapvalue_value ON annotation_mapvalue(value);",
        ]

    def test_maps_hold_texts_of_any_length(self) -> None:
        made = expanded("ALTER TABLE x ALTER COLUMN name TYPE TEXT;").split("\n")
        assert made[1] == "ALTER TABLE annotation_mapvalue ALTER COLUMN value TYPE TEXT;"

    def test_a_value_has_a_unit_or_neither_is_there(self) -> None:
        made = expanded("ADD CONSTRAINT x_unitpair")
        assert made.startswith("ALTER TABLE pixels ADD CONSTRAINT pixels_physicalSizeX_unitpair CHECK (physicalSizeX")


class TestScript:
    RESOURCES = {  # noqa: RUF012  never changed
        "hibernate.cfg.xml": '<mapping class="ome.model.core.Image"/>',
        "enums.properties": "ome.model.enums.Format.1:TIFF\n",
        "templates/psql-header.vm": "-- header %(version)s 100%%",
        "templates/psql-footer.vm": "hash '@ROOTPASS@' for @DBVERSION@ patch @DBPATCH@ like 'a%%'",
        "views.sql": "create view v as select 1;",
    }

    def test_the_parts_come_in_the_order_that_postgresql_needs(self) -> None:
        script = schema.render(self.RESOURCES.__getitem__, "create table a (id int8);;", "omero")
        order = ("-- header - 100%", "create table a (id int8);", "userIP", "create view v", "hash '")
        places = [script.index(part) for part in order]
        assert places == sorted(places)
        assert ";;" not in script

    def test_only_the_digest_of_the_password_is_written(self) -> None:
        script = schema.render(self.RESOURCES.__getitem__, "", "omero")
        assert "hash 'LSjpGNDDKH/7iZyIwB8OTA==' for OMERO5.4 patch 0 like 'a%'" in script
