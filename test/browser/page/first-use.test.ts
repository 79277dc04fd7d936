import { afterEach, expect, it, vi } from "vitest";
import { pixelsOf } from "../../../src/platform/web-images.ts";

// The first pictures of a page open a device to read them with. In order: each test goes on with what the one before left.

afterEach(() => vi.restoreAllMocks());

/** One pixel, half transparent: only a texture gives its colour back as it is. */
const picture = () =>
  createImageBitmap(new ImageData(new Uint8ClampedArray([200, 100, 50, 3]), 1, 1), {
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  });
const anySize = () => {};
const read = async () => [...(await pixelsOf(await picture(), anySize))!.data];

it("a device that does not open fails those who wait for it, and nobody later", async () => {
  const request = vi.spyOn(GPU.prototype, "requestAdapter").mockRejectedValueOnce(new Error("not now"));
  const first = await Promise.allSettled([read(), read()]);
  for (const each of first)
    expect(each).toMatchObject({ status: "rejected", reason: { code: "bad-image", message: expect.stringMatching(/not now$/) } });
  expect(request).toHaveBeenCalledTimes(1);
});

it("pictures at once share one device, those after them too", async () => {
  vi.spyOn(GPU.prototype, "requestAdapter").mockResolvedValueOnce(null);
  const opaque = await pixelsOf(await createImageBitmap(new ImageData(new Uint8ClampedArray([1, 2, 3, 255]), 1, 1)), anySize);
  expect([...opaque!.data]).toEqual([1, 2, 3, 255]); // without an adapter a canvas does, and the next picture asks again
  const request = vi.spyOn(GPUAdapter.prototype, "requestDevice");
  expect(await Promise.all([read(), read(), read()])).toEqual(Array(3).fill([200, 100, 50, 3]));
  expect(await read()).toEqual([200, 100, 50, 3]);
  expect(request).toHaveBeenCalledTimes(1);
  const device = (await request.mock.results[0]!.value) as GPUDevice;
  device.destroy();
  await device.lost;
  expect(await read()).toEqual([200, 100, 50, 3]); // by another one
  expect(request).toHaveBeenCalledTimes(2);
});
