"""The soak: a whole fleet at work on real servers, while parts of all are killed, paused and cut off at random.

``make soak SOAK_MINUTES=20 SOAK_SEED=7 BROKER=4.0``, or ``python -m soak --help`` with ``tests`` on the path.

==================  ===========================================================================================
:mod:`options`      what a soak is asked for
:mod:`stage`        servers, settings and diary
:mod:`wishes`       what is submitted, and what must become of it: pure, from a seed
:mod:`schedule`     which fault comes when: pure, from a seed
:mod:`material`     the files behind the wishes
:mod:`producers`    two producers, which submit until the broker has confirmed
:mod:`crew`         four workers, each behind proxies of its own, started again when they end
:mod:`faults`       carries the schedule out, and heals
:mod:`chronicle`    reads the event log with pika
:mod:`telling`      folds what the event log tells: pure
:mod:`ledger`       what was sent and what became of it, at any moment
:mod:`omeroeyes`    looks into OMERO with omero-py, as its root
:mod:`brokereyes`   looks into RabbitMQ with pika and the management API
:mod:`byhand`       has the fleet sweep and say how everything is, at the end
:mod:`facts`        what was sent, expected and seen: plain data
:mod:`judging`      what is wrong: pure, from these facts
:mod:`report`       the table and ``build/soak.json``
:mod:`story`        the whole run in order
==================  ===========================================================================================
"""
