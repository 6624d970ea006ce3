"""How sure a prediction is: maps, numbers of each case, the review list, and which images to label next.

Members are the predictions whose mean is taken: of several networks, of the transforms of test-time augmentation, of
samples of Monte-Carlo dropout. `measures` has what is computed at a pixel, `members` adds them up image by image,
`cases` adds up the images of a case, `learnt` is what an evaluation found out about them.
"""
