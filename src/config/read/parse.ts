/** Parses the text of a configuration file, in parts if it can be cut into parts. */
import { atOnce } from '../../process/pacer.ts';
import { wholeOf } from './parted.ts';
import { parseParts } from './parts.ts';
import { type ParsedYaml, parseYaml } from './yaml.ts';

/** Like `parseYaml`, with the same values, places and faults. `bytes` is UTF-8. */
export function parseText(bytes: Uint8Array, environment: NodeJS.ProcessEnv): ParsedYaml {
  const parts = atOnce(parseParts(bytes, environment));
  if (parts) return { raw: wholeOf(parts), faults: [], locate: parts.locate };
  return parseYaml(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(), environment);
}
