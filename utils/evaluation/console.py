"""Print the main scores of an evaluation."""

from textwrap import shorten

from utils.evaluation.case_scores import MEASURES

# Measures of utils.scores for the terminal; the report has all.
PRINTED = ("dice_global", "dice_per_case", "volume_error", "hd95_mm", "assd_mm", "surface_dice")


def print_results(cfg, results, folder):
    """Print the main scores of an evaluation: a row per score, a column per split, and how each averages."""
    if not cfg.VERBOSE:
        return
    print(f"weights {cfg.MODEL.WEIGHTS_FILE_NAME}")
    rows = [("", [result.split for result in results], "")]
    rows += [("images", [f"{result.images}" for result in results], "")]
    for name, rule in results[0].rules.items():
        if "_class" in name:
            continue  # a class has rows of its own below
        rows.append((name, [f"{result.scores[name]:.4f}" for result in results], rule))
    if results[0].summary:
        case = results[0].summary["case"]
        rows += [(f"{case}s", [f"{result.summary['cases']}" for result in results], "")] if case == "volume" else []
        rows += [row for region in results[0].summary["regions"] for row in region_rows(region, results)]
    names = max(len(name) for name, _, _ in rows)
    widths = [max(len(cells[column]) for _, cells, _ in rows) for column in range(len(results))]
    for name, cells, rule in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(f"{name.ljust(names)}  {cells}  {shorten(rule, 70, placeholder='...')}".rstrip())
    for result in results:
        print(f"{result.split}: {result.speed:.1f} images/s, reading included")
    print(f"saved {folder}")


def region_rows(region, results):
    """Rows of the measures of one region: value, 95% interval and cases of each split."""
    regions = [result.summary["regions"][region] for result in results]
    for measure in PRINTED:
        title, rule = MEASURES[measure]
        if any(measure in found for found in regions):
            cells = [format_measure(found.get(measure)) for found in regions]
            yield f"{title}, {region}", cells, rule.format(cases=f"{results[0].summary['case']}s")


def format_measure(entry):
    """`0.9350 [0.9200, 0.9410]`, the brackets where there is an interval; a dash where nothing defines the measure."""
    if entry is None:
        return "-"
    text = f"{entry['value']:.4f}"
    return text if entry["low"] is None else f"{text} [{entry['low']:.4f}, {entry['high']:.4f}]"
