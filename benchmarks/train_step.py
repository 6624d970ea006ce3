"""python benchmarks/train_step.py --models unet3plus --batch 2: forward, backward and update, side by side."""

from side_by_side import main

if __name__ == "__main__":
    main(train=True)
