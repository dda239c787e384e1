"""What single notebooks experiment with: each module isolates one mechanism, and the library needs none of them.

| module | notebooks | what it shows |
|---|---|---|
| `puzzle` | 00 | two defects among six pictures |
| `solar_cells` | 00, 09, 11 | a detector on real photographs, in seconds |
| `identity_shortcut` | 04 | how much of a defect a reconstruction repeats |
| `bare_attention` | 04 | the smallest network with attention |
| `shipped` | 04, 05, 10, 12 | measured results that come with the repository |
| `transplants` | 04, 05 | normal tokens of one category in an image of another |
| `assumed_class` | 05 | a model given a class, right or wrong |
| `company` | 05 | what categories lose in a model with others |
| `tokens` | 06 | what class tokens hold |
| `collapse` | 08 | an adapter under the prior loss alone |
| `peeking` | 09 | test scores during training |
| `pitfalls` | 09 | what an evaluation must not do |
| `trained_runs` | 10 | models and image features of a finished run |
| `one_run` | 10 | a run's results beside the paper's |
| `cases` | 10 | which test images to look at |
| `padim_settings` | 10 | PaDiM in Table 1's settings |
| `assembly` | 07, 10 | a whole MINT-AD put together from functions |
| `by_hand` | 10 | such a model beside the package's, and its training |
| `own_variant` | 10 | a variant of the reader's own, trained as the others |
| `own_data` | 11 | from a folder of images to a detector |
| `study` | 12 | runs to compare, intervals over images and seeds |
| `idea_planes` | 13 | what each family of methods calls normal, in the plane |
| `same_image` | 13 | many methods' maps of one image |
| `separate_unified` | 13 | one model a class against one for all, the paper's numbers and ours |
| `claims` | 14 | the paper's claims, and our tests of them |
| `verdict` | 14 | what the shipped results say about each |
"""
