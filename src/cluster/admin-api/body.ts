/** Reads the body of a request: JSON, bounded in size and depth. */
import type { IncomingMessage } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { troubleWithForm } from '../form.ts';
import { Refusal } from './answer.ts';

const longest = 1.5 * 1024 * 1024;
/** Its parser takes minutes for what a megabyte may contain. */
const longestYaml = 128 * 1024;

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
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > longest) throw tooLong;
      chunks.push(chunk);
    }
  } catch (error) {
    throw error === tooLong ? tooLong : new Refusal(400, 'the body ended too early');
  }
  return Buffer.concat(chunks).toString();
}

/** Never repeats the text, which may hold a private key. */
function parsed(text: string, type: string): unknown {
  const isYaml = /^application\/(x-)?yaml\b/.test(type);
  if (isYaml && text.length > longestYaml)
    throw new Refusal(400, `YAML may have ${longestYaml} characters; send JSON`);
  let value: unknown;
  try {
    value = isYaml ? parseYaml(text, { maxAliasCount: 0 }) : JSON.parse(text);
  } catch {
    throw new Refusal(400, `the body is not ${isYaml ? 'YAML' : 'JSON'}`);
  }
  const trouble = troubleWithForm(value);
  if (trouble !== undefined) throw new Refusal(400, `the body cannot be taken: ${trouble}`);
  return value;
}
