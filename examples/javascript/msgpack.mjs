// MessagePack, as far as control links need it (https://github.com/msgpack/msgpack/blob/master/spec.md):
// nil, booleans, integers up to 2^53, 64-bit floats, strings, bytes, arrays and maps.

/** Makes the bytes of a value: Buffer and Uint8Array become bytes, Map and objects maps. */
export function pack(value) {
  const parts = [];
  write(value, parts);
  return Buffer.concat(parts);
}

function head(parts, code, size, width) {
  const bytes = Buffer.alloc(1 + width);
  bytes[0] = code;
  bytes.writeUIntBE(size, 1, width);
  parts.push(bytes);
}

function sized(parts, size, small, smallest, codes) {
  if (size < small) parts.push(Buffer.of(smallest | size));
  else if (codes[0] && size < 0x100) head(parts, codes[0], size, 1);
  else if (size < 0x10000) head(parts, codes[1], size, 2);
  else head(parts, codes[2], size, 4);
}

function write(value, parts) {
  if (value === null || value === undefined) parts.push(Buffer.of(0xc0));
  else if (typeof value === "boolean") parts.push(Buffer.of(value ? 0xc3 : 0xc2));
  else if (typeof value === "number") writeNumber(value, parts);
  else if (typeof value === "string") {
    const text = Buffer.from(value, "utf8");
    sized(parts, text.length, 32, 0xa0, [0xd9, 0xda, 0xdb]);
    parts.push(text);
  } else if (value instanceof Uint8Array) {
    sized(parts, value.length, 0, 0, [0xc4, 0xc5, 0xc6]);
    parts.push(Buffer.from(value));
  } else if (Array.isArray(value)) {
    sized(parts, value.length, 16, 0x90, [0, 0xdc, 0xdd]);
    for (const each of value) write(each, parts);
  } else {
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    sized(parts, entries.length, 16, 0x80, [0, 0xde, 0xdf]);
    for (const [key, each] of entries) {
      write(key, parts);
      write(each, parts);
    }
  }
}

function writeNumber(value, parts) {
  if (!Number.isInteger(value)) {
    const bytes = Buffer.alloc(9);
    bytes[0] = 0xcb;
    bytes.writeDoubleBE(value, 1);
    parts.push(bytes);
  } else if (!Number.isSafeInteger(value)) {
    throw new RangeError(`${value} is beyond 2^53`);
  } else if (value >= 0) {
    if (value < 0x80) parts.push(Buffer.of(value));
    else if (value < 0x100) head(parts, 0xcc, value, 1);
    else if (value < 0x10000) head(parts, 0xcd, value, 2);
    else if (value < 0x100000000) head(parts, 0xce, value, 4);
    else {
      const bytes = Buffer.alloc(9);
      bytes[0] = 0xcf;
      bytes.writeBigUInt64BE(BigInt(value), 1);
      parts.push(bytes);
    }
  } else if (value >= -32) parts.push(Buffer.of(value & 0xff));
  else {
    const bytes = Buffer.alloc(9);
    bytes[0] = 0xd3;
    bytes.writeBigInt64BE(BigInt(value), 1);
    parts.push(bytes);
  }
}

/** Reads one value, which must be all there is; throws an Error if it is not. */
export function unpack(bytes) {
  const reader = { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), at: 0 };
  const value = read(reader, 0);
  if (reader.at !== reader.bytes.length) throw new Error("more bytes than one value");
  return value;
}

const DEEPEST = 64;

function take(reader, count) {
  const from = reader.at;
  if (from + count > reader.bytes.length) throw new Error("fewer bytes than announced");
  reader.at += count;
  return reader.bytes.subarray(from, reader.at);
}

const number = (reader, width) => take(reader, width).readUIntBE(0, width);
const text = (reader, size) => take(reader, size).toString("utf8");
const safe = (value) => {
  const found = Number(value);
  if (!Number.isSafeInteger(found)) throw new Error(`${value} is beyond 2^53`);
  return found;
};

function list(reader, size, depth) {
  const found = [];
  for (let index = 0; index < size; index++) found.push(read(reader, depth));
  return found;
}

function map(reader, size, depth) {
  const entries = [];
  for (let index = 0; index < size; index++) {
    const key = read(reader, depth);
    entries.push([key, read(reader, depth)]);
  }
  // Text keys make an object without a prototype, so that no key is special to JavaScript.
  if (entries.some(([key]) => typeof key !== "string")) return new Map(entries);
  const found = Object.create(null);
  for (const [key, value] of entries) found[key] = value;
  return found;
}

function read(reader, depth) {
  if (depth > DEEPEST) throw new Error(`nested deeper than ${DEEPEST}`);
  const code = number(reader, 1);
  if (code < 0x80) return code;
  if (code < 0x90) return map(reader, code & 0x0f, depth + 1);
  if (code < 0xa0) return list(reader, code & 0x0f, depth + 1);
  if (code < 0xc0) return text(reader, code & 0x1f);
  if (code >= 0xe0) return code - 0x100;
  switch (code) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: return take(reader, number(reader, 1));
    case 0xc5: return take(reader, number(reader, 2));
    case 0xc6: return take(reader, number(reader, 4));
    case 0xca: return take(reader, 4).readFloatBE(0);
    case 0xcb: return take(reader, 8).readDoubleBE(0);
    case 0xcc: return number(reader, 1);
    case 0xcd: return number(reader, 2);
    case 0xce: return number(reader, 4);
    case 0xcf: return safe(take(reader, 8).readBigUInt64BE(0));
    case 0xd0: return take(reader, 1).readInt8(0);
    case 0xd1: return take(reader, 2).readInt16BE(0);
    case 0xd2: return take(reader, 4).readInt32BE(0);
    case 0xd3: return safe(take(reader, 8).readBigInt64BE(0));
    case 0xd9: return text(reader, number(reader, 1));
    case 0xda: return text(reader, number(reader, 2));
    case 0xdb: return text(reader, number(reader, 4));
    case 0xdc: return list(reader, number(reader, 2), depth + 1);
    case 0xdd: return list(reader, number(reader, 4), depth + 1);
    case 0xde: return map(reader, number(reader, 2), depth + 1);
    case 0xdf: return map(reader, number(reader, 4), depth + 1);
    default: throw new Error(`no value begins with ${code.toString(16)}`);
  }
}
