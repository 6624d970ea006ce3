"""python benchmarks/inference.py --models unet3plus --batch 2: the forward pass, side by side."""

from side_by_side import main

if __name__ == "__main__":
    main(train=False)
