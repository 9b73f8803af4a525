// What the model saw of each picture.

const pictures = new WeakMap<Element, Uint8Array>();

/** Thumbnails are drawn where they can be seen; a thousand canvases would take the memory of the answers. */
const watcher = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) draw(target as HTMLCanvasElement);
      else (target as HTMLCanvasElement).width = 0;
    }
  },
  { rootMargin: "200px" },
);

/** Draw a thumbnail, where there is one. */
export function draw(canvas: HTMLCanvasElement): void {
  const pixels = pictures.get(canvas);
  if (!pixels) return;
  canvas.width = canvas.height = 64;
  const colours = new Uint8ClampedArray(64 * 64 * 4);
  pixels.forEach((value, i) => colours.set([value, value, value, 255], 4 * i));
  canvas.getContext("2d")?.putImageData(new ImageData(colours, 64, 64), 0, 0);
}

/** A thumbnail to be drawn when it comes into view; an empty one without pixels. */
export function thumbnail(pixels: Uint8Array | null): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  if (pixels) {
    canvas.setAttribute("role", "img");
    pictures.set(canvas, pixels);
    watcher.observe(canvas);
  }
  return canvas;
}
