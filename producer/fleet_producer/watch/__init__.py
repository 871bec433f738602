"""Watches folders of instruments and keeps what is complete in the spool, each plate once.

========================  =======================================================================================
:mod:`finding`            which folders and files are candidates
:mod:`tree`               one pass over all files of a plate
:mod:`looking`            one look at a plate: list, read, open its TIFFs
:mod:`views`              what a look has shown
:mod:`holding`            whether an instrument still has a file open
:mod:`records`            what is remembered of a plate
:mod:`store`              the state on disk
:mod:`lock`               one watch for one state
:mod:`rules`              from a plate to lane, owner, group and target
:mod:`keeping`            from a complete plate to a request in the spool
:mod:`places`             a plate while this process lives
:mod:`byhand`             what people submit themselves
:mod:`folder`             one watched folder
:mod:`outbox`             from the spool to the broker, heartbeats and news
:mod:`outcomes`           forgets in the spool what has its outcome
:mod:`watcher`            the loop
:mod:`assembling`         all of it put together
========================  =======================================================================================

Threading: one thread does all of it but the outcomes, which have one; the publisher brings one of its own.
"""
