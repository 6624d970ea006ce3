"""What a step and an epoch cost on several devices, on paper: python benchmarks/scaling.py

From the measured step of one device: no run of this kind was made. docs/explanation/scaling.md explains the formulas.

    python benchmarks/scaling.py --parameters 26987714 --step 5.14 --size 320 --batch 2 --images 20000 \\
        --bandwidth 10 --sample-kb 60 --replicas 1 2 4 8 32
"""

import argparse


def step_seconds(measured, measured_size, measured_batch, size, batch):
    """Seconds of forward, backward and update on one device: as the pixels grow (docs/results/speed.md)."""
    return measured * (size / measured_size) ** 2 * (batch / measured_batch)


def all_reduce_bytes(parameters, replicas):
    """Bytes that each replica sends in a ring all-reduce of float32 gradients: 2 (N - 1) / N of them."""
    return 2 * (replicas - 1) / replicas * 4 * parameters


def row(options, size, batch, replicas):
    """The figures of one configuration, as {heading: value}."""
    compute = step_seconds(options.step, options.size, options.batch, size, batch)
    volume = all_reduce_bytes(options.parameters, replicas)
    exchange = volume / (options.bandwidth * 1e9)
    seconds = compute + exchange  # nothing of the exchange hidden behind the backward pass: an upper bound
    steps = -(-options.images // (batch * replicas))
    images = batch * replicas / seconds
    kilobytes = options.sample_kb * (size / options.size) ** 2
    return {
        "size": size,
        "batch per replica": batch,
        "replicas": replicas,
        "compute s": f"{compute:.3f}",
        "all-reduce MB": f"{volume / 1e6:.0f}",
        "all-reduce s": f"{exchange:.3f}",
        "step s": f"{seconds:.3f}",
        "steps": steps,
        "epoch min": f"{steps * seconds / 60:.1f}",
        "efficiency": f"{compute / seconds:.0%}",
        "images/s": f"{images:.1f}",
        "TFRECORD MB/s": f"{images * kilobytes / 1000:.2f}",
    }


def positive(text, kind=float):
    """The number of a command line, above 0."""
    value = kind(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def positive_int(text):
    return positive(text, int)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=positive_int, default=26_987_714, help="of the model (UNet 3+, 2 classes)")
    parser.add_argument("--step", type=positive, default=4.37, help="measured seconds of a training step on one device")
    parser.add_argument("--size", type=positive_int, default=320, help="image side of that measurement")
    parser.add_argument("--batch", type=positive_int, default=2, help="batch of that measurement")
    parser.add_argument("--sizes", type=positive_int, nargs="+", default=[320, 512], help="image sides to show")
    parser.add_argument("--batches", type=positive_int, nargs="+", default=[2, 8], help="batches per replica to show")
    parser.add_argument(
        "--replicas", type=positive_int, nargs="+", default=[1, 2, 8, 32], help="numbers of replicas to show"
    )
    parser.add_argument("--images", type=positive_int, default=20_000, help="training images of an epoch")
    parser.add_argument("--bandwidth", type=positive, default=10.0, help="GB/s of the slowest link between replicas")
    parser.add_argument("--sample-kb", type=positive, default=60.0, help="kB of an image with its mask at --size")
    options = parser.parse_args()
    rows = [row(options, *key) for key in configurations(options)]
    print(f"| {' | '.join(rows[0])} |")
    print(f"|{' --- |' * len(rows[0])}")
    for cells in rows:
        print(f"| {' | '.join(map(str, cells.values()))} |")


def configurations(options):
    return [(size, batch, count) for size in options.sizes for batch in options.batches for count in options.replicas]


if __name__ == "__main__":
    main()
