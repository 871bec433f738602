"""Tells people of what needs them: every dead, incomplete and cancelled request, and every finished batch.

A process of its own follows the event log, so no import ever waits for a mail server. ``notes`` says what is told,
``teller`` when, ``channel`` gathers, sends and tries again, ``webhook`` and ``mail`` send, ``place`` remembers what was
told, ``service`` holds them together.
"""
