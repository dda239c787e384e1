"""`mintad course grade`: students' functions, run in sandboxes of their own, judged from outside by hidden cases.

Two kinds of process, and no trust between them. The *judge* (`judge`, `mintad.course.checks`) holds the checks, the
reference functions and the expected values. The *sandbox* (`sandbox`, `runner`, `closure`) holds the student's code,
and nothing of that. Between them run two pipes (`process`): arguments go in (`remote`), results come out as plain
numbers (`wire`). A verdict rests on these results alone, for arguments that the judge has drawn and in part on training
that the judge drives. So a submission may change in its own process what it likes: it is judged by the answers that
come out, wherever these come from.
"""
