/** Reads the body of a request: JSON, bounded in size and depth. */
import type { IncomingMessage } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { isFields } from '../apisix/objects.ts';
import { Refusal } from './answer.ts';

const longest = 1.5 * 1024 * 1024;
const deepest = 32;

/** undefined if there is none. Throws a Refusal. */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const text = await readText(request);
  return text === '' ? undefined : parsed(text, request.headers['content-type'] ?? '');
}

async function readText(request: IncomingMessage): Promise<string> {
  const tooLong = new Refusal(400, `the body is longer than ${longest} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > longest) throw tooLong;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longest) throw tooLong;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Never repeats the text, which may hold a private key. */
function parsed(text: string, type: string): unknown {
  const isYaml = /^application\/(x-)?yaml\b/.test(type);
  let value: unknown;
  try {
    value = isYaml ? parseYaml(text, { maxAliasCount: 0 }) : JSON.parse(text);
  } catch {
    throw new Refusal(400, `the body is not ${isYaml ? 'YAML' : 'JSON'}`);
  }
  if (depthOf(value) > deepest) throw new Refusal(400, `the body is nested more than ${deepest} deep`);
  return value;
}

function depthOf(value: unknown): number {
  let depth = 0;
  let level: unknown[] = [value];
  while (level.length > 0 && depth <= deepest) {
    depth += 1;
    level = level.flatMap((one) => (Array.isArray(one) ? one : isFields(one) ? Object.values(one) : []));
  }
  return depth;
}
