/** Reading what gadgetops/report/page/packing.py wrote. */

export type Kind = "plain" | "signed" | "difference";
export type Columns = Record<string, Float64Array>;

export interface Unpacked<Header> {
  header: Header;
  columns: Columns;
}

/** Return the header and the columns of compressed contents, as base64. */
export async function unpack<Header>(base64: string): Promise<Unpacked<Header>> {
  const compressed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Header & {
    columns: [string, Kind, number][];
  };
  const columns: Columns = {};
  const reader = new Reader(bytes, 4 + length);
  for (const [name, kind, count] of header.columns) columns[name] = reader.column(kind, count);
  return { header, columns };
}

class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    private position: number,
  ) {}

  column(kind: Kind, count: number): Float64Array {
    const values = new Float64Array(count);
    let previous = 0;
    for (let index = 0; index < count; index += 1) {
      const value = this.number();
      if (kind === "plain") {
        values[index] = value;
        continue;
      }
      const signed = value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      previous = kind === "difference" ? previous + signed : signed;
      values[index] = previous;
    }
    return values;
  }

  /** Numbers may have more than 32 bits, where shifts end. */
  private number(): number {
    let byte = this.bytes[this.position++];
    if (byte < 128) return byte;
    let value = byte & 127;
    let factor = 128;
    do {
      byte = this.bytes[this.position++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte >= 128);
    return value;
  }
}
