/** Lines of text in a dialogue before TLS: one after another, and within bounds, whoever speaks. */
import type { Peek } from '../../peek/peek.ts';
import type { Fault } from '../faults.ts';

/** More than a command, a reply or a list of capabilities needs. */
export const maxLine = 4096;
/** The most that one side may say before TLS. */
const maxLines = 100;
const maxBytes = 32 * 1024;

export type Line = {
  /** Without its line break. */
  readonly text: string;
  /** In bytes, with its line break. */
  readonly length: number;
};

/** The lines of one side. They are consumed as they are read. */
export class Lines {
  readonly #peek: Peek;
  readonly #fault: Fault;
  #lines = 0;
  #bytes = 0;

  constructor(peek: Peek, fault: Fault) {
    this.#peek = peek;
    this.#fault = fault;
  }

  async next(): Promise<string> {
    const { text, length } = await this.#peek.read((bytes) => readLine(bytes, this.#fault));
    this.#peek.drop(length);
    this.#lines += 1;
    this.#bytes += length;
    if (this.#lines > maxLines || this.#bytes > maxBytes) {
      throw this.#fault(`says more than ${maxLines} lines or ${maxBytes} bytes before TLS`);
    }
    return text;
  }
}

/**
 * The first line, given all that has arrived; undefined if more is needed. A lone LF ends it too: people who
 * type, and some clients, send no CR. Throws for control characters, with which ClientHellos begin, as soon
 * as they arrive, and for lines that are too long.
 */
export function readLine(bytes: Buffer, fault: Fault): Line | undefined {
  const end = bytes.indexOf(0x0a);
  const isWhole = end !== -1 && end < maxLine;
  const text = bytes.toString('latin1', 0, isWhole ? end : maxLine);
  const line = text.endsWith('\r') ? text.slice(0, -1) : text;
  if (hasControls(line)) throw fault('sends bytes that are no line of text');
  if (isWhole) return { text: line, length: end + 1 };
  if (bytes.length >= maxLine) throw fault(`sends a line of more than ${maxLine} bytes`);
  return undefined;
}

/** Tabs are none: they are white space. */
function hasControls(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true;
  }
  return false;
}
