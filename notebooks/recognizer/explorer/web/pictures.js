"use strict";
// Prepare pictures for the network.

// RGB from RGBA, without the transparency.
function withoutAlpha(data) {
  const rgb = new Uint8ClampedArray((data.length / 4) * 3);
  for (let i = 0, p = 0; p < rgb.length; i += 4, p += 3) {
    rgb[p] = data[i];
    rgb[p + 1] = data[i + 1];
    rgb[p + 2] = data[i + 2];
  }
  return rgb;
}

// Resampling filters: the weight of a pixel by its distance, and the distance beyond which the weight is 0. The unit is
// one pixel of the result if the picture is reduced, else one pixel of the source.
const FILTERS = {
  bilinear: { support: 1, weigh: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: {
    support: 2,
    weigh: (signed) => {
      const x = Math.abs(signed);
      if (x < 1) return 1.5 * x ** 3 - 2.5 * x ** 2 + 1;
      return x < 2 ? -0.5 * (x ** 3 - 5 * x ** 2 + 8 * x - 4) : 0;
    },
  },
};

// A picture {data: RGBA, width, height} resized to height × width, as in Pillow: with antialiasing, first horizontally,
// then vertically, and rounded to whole numbers in between. Returns RGB in 8 bits.
function squeezed({ data, width, height }, newHeight, newWidth, filter = FILTERS.bilinear) {
  const rgb = withoutAlpha(data);
  const across = resampled(rgb, filter, height, width, newWidth, 3 * width, 3, 3 * newWidth, 3);
  return resampled(across, filter, newWidth, height, newHeight, 3, 3 * newWidth, 3, 3 * newWidth);
}

// Resize along one axis: `lines` lines of `length` pixels get `newLength` pixels. The other arguments are distances
// between lines and between pixels in memory.
function resampled(source, { support, weigh }, lines, length, newLength, lineStep, step, newLineStep, newStep) {
  if (length === newLength) return source;
  const target = new Uint8ClampedArray((source.length / length) * newLength);
  const scale = length / newLength;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  for (let i = 0; i < newLength; i++) {
    const middle = (i + 0.5) * scale;
    const from = Math.max(Math.trunc(middle - reach + 0.5), 0);
    const to = Math.min(Math.trunc(middle + reach + 0.5), length);
    const weights = [];
    for (let x = from; x < to; x++) weights.push(weigh((x - middle + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    const whole = weights.map((weight) => Math.round((weight / sum) * 4194304)); // with 22 bits, as in Pillow
    for (let line = 0; line < lines; line++)
      for (let channel = 0; channel < 3; channel++) {
        let total = 2097152;
        let place = line * lineStep + from * step + channel;
        for (let k = 0; k < whole.length; k++, place += step) total += whole[k] * source[place];
        target[line * newLineStep + i * newStep + channel] = Math.floor(total / 4194304);
      }
  }
  return target;
}

// RGB as the input of the network: a Float32Array, channels × height × width in [0, 1]. One channel is grey.
function asInput(rgb, [channels, height, width]) {
  const pixels = new Float32Array(channels * height * width);
  const perChannel = height * width;
  for (let i = 0; i < perChannel; i++) {
    const [r, g, b] = [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]];
    if (channels === 1) pixels[i] = (0.2989 * r + 0.587 * g + 0.114 * b) / 255;
    else [pixels[i], pixels[perChannel + i], pixels[2 * perChannel + i]] = [r / 255, g / 255, b / 255];
  }
  return pixels;
}

// The user's picture as input of the network. `resize` is 'squeeze' (without keeping the proportions), or as in
// torchvision's presets [side after resizing, side after cropping, 'bilinear' or 'bicubic'].
function fitted(picture, [channels, height, width], resize) {
  if (resize === "squeeze") return asInput(squeezed(picture, height, width), [channels, height, width]);
  const [side, crop, filter] = resize;
  const short = Math.min(picture.width, picture.height);
  const [rows, columns] = [picture.height, picture.width].map((length) => Math.trunc((side * length) / short));
  const rgb = squeezed(picture, rows, columns, FILTERS[filter]);
  const half = (length) => Math.floor(length / 2) + (length % 4 === 3 ? 1 : 0); // rounded to even, as in Python
  const [top, left] = [half(rows - crop), half(columns - crop)];
  const cut = new Uint8ClampedArray(3 * crop * crop);
  for (let y = 0; y < crop; y++)
    for (let x = 0; x < 3 * crop; x++) cut[3 * crop * y + x] = rgb[3 * (columns * (top + y) + left) + x];
  return asInput(cut, [channels, crop, crop]);
}

// The pixels of a file, a video or an image: upright, with white instead of transparency.
const MOST_PIXELS = 16_000_000; // the limit for a canvas on phones
async function coloursOf(source) {
  const image = source instanceof Blob ? await createImageBitmap(source, { colorSpaceConversion: "none" }) : source;
  const [width, height] = [image.videoWidth || image.width, image.videoHeight || image.height];
  const factor = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(factor * side)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (image instanceof ImageBitmap) image.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// The pixels of a picture in the page, by its address.
async function loaded(address, input) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const { data } = await coloursOf(image);
  if (input[0] === 1) return Float32Array.from({ length: data.length / 4 }, (_, i) => data[4 * i] / 255);
  return asInput(withoutAlpha(data), input);
}

// Draw the input of the network on a canvas.
function show(canvas, pixels, [channels, height, width]) {
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const perChannel = height * width;
  for (let i = 0; i < perChannel; i++) {
    for (let c = 0; c < 3; c++)
      image.data[4 * i + c] = Math.round(255 * pixels[(channels === 1 ? 0 : c * perChannel) + i]);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
