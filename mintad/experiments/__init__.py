"""Small experiments that notebooks run and discuss: each isolates one mechanism of the model.

`copying` measures how much of a defect a reconstruction repeats, `bare_attention` is the least network with attention,
`collapse` trains an adapter under the prior loss.
"""
