// Classifies pictures in a browser with an exported model and the JSON file beside it, by LiteRT.js (@litertjs/core).
//
//   import {loadLiteRt} from "@litertjs/core";
//   await loadLiteRt("/path/to/@litertjs/core/wasm/");
//   const classify = await classifier("model.tflite");            // model.tflite.json is read, too
//   console.log(await classify(await createImageBitmap(file)));   // [{label, score}, ...], the likeliest first

import {loadAndCompile, Tensor} from "@litertjs/core";

export async function classifier(model) {
  const facts = await (await fetch(`${model}.json`)).json();
  const compiled = await loadAndCompile(model, {accelerator: "wasm"});
  const [, height, width] = facts.input.shape;
  const {mean, std} = facts.normalization;
  const bytes = facts.ends.io === "uint8";
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", {alpha: false, willReadFrequently: true});

  return async image => {
    // The central square, as in training; of pictures of more than 64 px an eighth of the shorter side stays outside.
    const shorter = Math.min(image.width, image.height);
    const edge = shorter > 64 ? 0.875 * shorter : shorter;
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, width, height);
    context.drawImage(image, (image.width - edge) / 2, (image.height - edge) / 2, edge, edge, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data; // red, green, blue, alpha
    const values = new (bytes ? Uint8Array : Float32Array)(3 * width * height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) {
        const value = (pixels[4 * i + c] / 255 - mean[c]) / std[c];
        values[3 * i + c] = bytes ? Math.round(value) : value;
      }
    }
    const input = new Tensor(values, facts.input.shape);
    const outputs = await compiled.run(input);
    const {scale, zero_point: zero} = facts.output;
    const scores = [...await outputs[0].data()].map(score => scale ? (score - zero) * scale : score);
    [input, ...outputs].forEach(tensor => tensor.delete());
    return scores.map((score, i) => ({label: facts.labels?.[i] ?? String(i), score})).sort((a, b) => b.score - a.score);
  };
}
