"""What single notebooks experiment with: each module isolates one mechanism, and the library needs none of them.

| notebook | modules |
|---|---|
| 04 | `identity_shortcut`: how much of a defect a reconstruction repeats; `bare_attention`: the smallest network with attention; `transplants`: normal tokens of one category in an image of another |
| 05 | `assumed_class`: a model given a class, right or wrong; `transplants` |
| 06 | `tokens`: what class tokens hold |
| 08 | `collapse`: an adapter under the prior loss alone |
| 09 | `peeking`: test scores during training; `pitfalls`: what an evaluation must not do |
| 10 | `trained_runs`: models and image features of a finished run; `one_run`: its results beside the paper's; `cases`: which test images to look at; `padim_settings`: PaDiM in Table 1's settings |
| 11 | `own_data`: from a folder of images to a detector |
| 12 | `study`: which runs, one table of them, their intervals over images and seeds |
"""  # noqa: E501
