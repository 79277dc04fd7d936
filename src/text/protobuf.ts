/** A field of a protobuf message: its number, and what it holds; integers and bits of a float as they are, the rest as bytes. */
export interface ProtoField {
  number: number;
  wire: "varint" | "bytes" | "fixed32" | "fixed64";
  /** A varint's value as a signed integer; 0 for the others. */
  integer: number;
  /** All but varints. */
  bytes: Uint8Array;
}

const NONE = new Uint8Array(0);

/** The fields of a message, in order. @throws RangeError where it breaks off, or is none */
export function* protoFields(message: Uint8Array): Generator<ProtoField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (at >= message.length) throw new RangeError("it breaks off");
      const byte = message[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("an integer in it has no end");
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw new RangeError("it breaks off");
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const key = Number(varint());
    const number = Math.floor(key / 8);
    if (number < 1 || number >= 2 ** 29) throw new RangeError(`it has a field ${number}`);
    const other = (wire: ProtoField["wire"], length: number): ProtoField => ({ number, wire, integer: 0, bytes: take(length) });
    if (key % 8 === 0) yield { number, wire: "varint", integer: Number(BigInt.asIntN(64, varint())), bytes: NONE };
    else if (key % 8 === 1) yield other("fixed64", 8);
    else if (key % 8 === 2) yield other("bytes", Number(varint()));
    else if (key % 8 === 5) yield other("fixed32", 4);
    else throw new RangeError(`field ${number} is of an unknown kind`);
  }
}
