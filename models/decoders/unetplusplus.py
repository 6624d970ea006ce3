"""The UNet++ decoder: nested, dense skip connections (Zhou et al., TMI 2020, arXiv:1912.05074)."""

from omegaconf import DictConfig

from models.decoders.unet import stage_widths
from models.layers.blocks import BlockSettings, DecoderMap, FeatureMaps, up_block


def unetplusplus(
    features: FeatureMaps, down: FeatureMaps, settings: DictConfig, blocks: BlockSettings
) -> list[DecoderMap]:
    """Column by column, each node upsamples its lower neighbour and concatenates all earlier nodes of its row.

    Rows are strides. The encoder maps are column 0; the row at stride s has as many nodes as there are coarser rows.
    Where the finest encoder map has stride 2, a last row at stride 1 holds one node only.

    Args:
        features: {stride: encoder map `(batch, height, width, channels)`}; the coarsest is the bottleneck.
        down: {stride: map that column 1 upsamples}.

    Returns:
        list of DecoderMap: the mask's node, then the nodes of the finest row that supervise depths 3, 2, 1.
    """
    widths = stage_widths(features, settings, least=len(features) - 1)
    rows = {stride: [features[stride]] for stride in sorted(features)}  # {stride: nodes from left to right}
    bottleneck = max(rows)
    for column in range(1, len(rows)):
        for stride in (stride for stride in rows if stride << column <= bottleneck):
            lower = down[2 * stride] if column == 1 else rows[2 * stride][column - 1]
            last = stride << (column + 1) > bottleneck
            wide = settings.DECODER.INNER_FILTERS == "encoder" and not last
            width = features[stride].shape[-1] if wide else widths[stride]
            node = up_block(lower, list(rows[stride]), width, blocks, f"decoder{stride}_column{column}")
            rows[stride].append(node)
    finest = min(rows)
    maps = [(finest, node) for node in rows[finest][1:]]
    if finest // 2 in widths:
        maps[-1] = (finest // 2, up_block(maps[-1][1], [], widths[finest // 2], blocks, f"decoder{finest // 2}"))
    return [DecoderMap("mask", *maps[-1])] + [
        DecoderMap(f"mask_depth{depth}", *maps[depth - 1]) for depth in range(len(maps) - 1, 0, -1)
    ]
