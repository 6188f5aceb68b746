"""Draw the README's pictures from a finished run: `python docs/make_run_pictures.py RUN_DIR NAME`.

Writes docs/pictures/NAME_curve.svg (returns over environment steps) and, where the run has a video,
docs/pictures/NAME_film.png (a strip of its frames).
"""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from acer_robot.reporting.charts import learning_curve
from acer_robot.run_folder.tables import read_table

PICTURES = Path(__file__).resolve().parent / "pictures"
FRAMES, FIRST_SECOND, EVERY_SECONDS = 6, 2.0, 0.12


def film_strip(video: Path) -> np.ndarray:
    """Return frames of the video side by side, at half their size."""
    rate = float(imageio.immeta(video, plugin="FFMPEG")["fps"])
    frames = imageio.imread(video, plugin="FFMPEG")
    wanted = [round((FIRST_SECOND + i * EVERY_SECONDS) * rate) for i in range(FRAMES)]
    return np.concatenate([frames[min(i, len(frames) - 1)][::2, ::2] for i in wanted], axis=1)


def main() -> None:
    """Write the pictures of one run."""
    run_dir, name = Path(sys.argv[1]), sys.argv[2]
    curve = learning_curve(read_table(run_dir / "eval.csv"), read_table(run_dir / "metrics.csv"))
    (PICTURES / f"{name}_curve.svg").write_text(curve)
    video = run_dir / "videos/policy.mp4"
    if video.exists():
        imageio.imwrite(PICTURES / f"{name}_film.png", film_strip(video))


if __name__ == "__main__":
    main()
