"""Classifies a picture with an exported model: LiteRT, NumPy and Pillow, no compofa_tf.

python classifier.py model.tflite photo.jpg
"""

import json
import math
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def classify(model, picture, top=3):
    with zipfile.ZipFile(model) as behind:  # what travels behind every model; `unzip -l` lists it
        facts = json.loads(behind.read("metadata.json"))
        labels = behind.read("labels.txt").decode().splitlines() if "labels.txt" in behind.namelist() else []
    interpreter = Interpreter(model_path=str(model))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    side = int(source["shape"][1])
    image = Image.open(picture)
    if facts.get("preprocessing", {}).get("exif_orientation", True):
        image = ImageOps.exif_transpose(image)
    image = image.convert("RGB")
    shorter = min(image.size)
    resized = side if shorter <= 64 else math.ceil(side / 0.875)
    width, height = (edge * resized // shorter for edge in image.size)
    left, upper = round((width - side) / 2), round((height - side) / 2)
    image = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, upper, left + side, upper + side))

    mean, std = (np.float32(facts["normalization"][name]) for name in ("mean", "std"))
    values = (np.asarray(image, np.float32) / 255 - mean) / std
    scale, zero_point = source["quantization"]
    if scale:
        limits = np.iinfo(source["dtype"])
        values = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
    interpreter.set_tensor(source["index"], values[None].astype(source["dtype"]))
    interpreter.invoke()
    scores = interpreter.get_tensor(target["index"])[0].astype(np.float32)
    scale, zero_point = target["quantization"]
    if scale:
        scores = (scores - zero_point) * scale
    return [(labels[i] if labels else str(i), float(scores[i])) for i in np.argsort(-scores, kind="stable")[:top]]


if __name__ == "__main__":
    for label, score in classify(*sys.argv[1:3]):
        print(f"{score:8.3f}  {label}")
