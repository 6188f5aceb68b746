"""A damaged recording of episodes is refused, whatever zlib or the archive's reader raises."""

import random

import numpy as np

from acer_robot.errors import InputError
from acer_robot.run_folder.recording import Recording, load_recording, save_recording


def test_damaged_bytes_of_a_recording_are_refused(tmp_path):
    path, chance = tmp_path / "episodes.npz", random.Random(0)
    numbers = np.random.default_rng(0).normal(size=(300, 3)).round(1).astype(np.float32)
    recording = Recording(numbers, numbers[:, :1], numbers[:, 0], np.array([300]), np.array([True]))
    save_recording(recording, path)
    whole, refused = path.read_bytes(), 0
    for _ in range(100):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + chance.randbytes(16) + whole[place + 16 :])
        try:
            load_recording(path, 3, 1)
        except InputError as error:
            refused += "is damaged" in str(error)
    assert refused > 80
