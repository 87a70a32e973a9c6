"""Classifies pictures with MediaPipe Tasks, in a process of its own; run by tests/deploy/test_clients.py.

Usage: mediapipe_client.py PICTURES.npy MODEL...   Prints a JSON list per model: [label, index, score] of each picture.
"""

from __future__ import annotations

import json
import sys

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

pictures = np.load(sys.argv[1])
found = []
for model in sys.argv[2:]:
    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=1)
    with ImageClassifier.create_from_options(options) as classifier:
        answers = []
        for picture in pictures:
            result = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=picture))
            best = result.classifications[0].categories[0]
            answers.append([best.category_name, best.index, best.score])
    found.append(answers)
print(json.dumps(found))
