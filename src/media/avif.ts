/** Where a box of an ISO file begins and ends behind its head; `undefined` where there is none of that name. */
function box(bytes: Uint8Array, name: string, from: number, to: number): { from: number; to: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at + 8 <= to; ) {
    const size = view.getUint32(at);
    const end = size === 0 ? to : at + size;
    if (size === 1 || (size > 0 && size < 8) || end > to) return undefined; // 64-bit sizes are the pixels'
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === name) return { from: at + 8, to: end };
    at = end;
  }
  return undefined;
}

/**
 * The same AVIF file as its pixels are stored: turning and mirroring (`irot`, `imir`) become a turn by nothing. Pillow, whose AVIF decoder makes an
 * EXIF orientation of them, leaves pixels as they are too. An animation (brand `avis`), which sharp refuses, is called the still picture that it has too.
 */
export function unturnedAvif(bytes: Uint8Array): Uint8Array {
  const meta = box(bytes, "meta", 0, bytes.length);
  const iprp = meta && box(bytes, "iprp", meta.from + 4, meta.to);
  const ipco = iprp && box(bytes, "ipco", iprp.from, iprp.to);
  if (!ipco) return bytes; // its decoder will say what is wrong
  const file = bytes.slice();
  file.set([0x61, 0x76, 0x69, 0x66], 8); // "avif"
  for (const name of ["irot", "imir"]) {
    let from = ipco.from;
    for (let found = box(file, name, from, ipco.to); found; found = box(file, name, from, ipco.to)) {
      file.set([0x69, 0x72, 0x6f, 0x74, 0], found.from - 4); // "irot", by 0
      from = found.to;
    }
  }
  return file;
}
