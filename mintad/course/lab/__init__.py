"""What single notebooks experiment with; each module isolates one mechanism, and nothing else in the package needs it.

| notebook | modules |
|---|---|
| 04 | `copying`: how much of a defect is repeated; `bare_attention`: the least network with attention |
| 05 | `told`: a model told a class, right or wrong; `guests`: tokens of one category in an image of another |
| 06 | `tokens`: what class tokens hold |
| 08 | `collapse`: an adapter under the prior loss alone |
| 09 | `traps`: what evaluation must not do; `watching`: test scores while training goes on |
| 10 | `cases`: which test images to look at |
| 11 | `own_data`: from a folder of images to a detector |
"""
