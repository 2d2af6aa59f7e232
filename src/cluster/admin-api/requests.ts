/** From a request to its answer. */
import type { IncomingMessage } from 'node:http';
import { isKind, kinds } from '../apisix/objects.ts';
import { type Answer, answerOf, Refusal } from './answer.ts';
import { readBody } from './body.ts';
import type { Keeper } from './keys.ts';
import { answerAbout, notFoundWords, type Objects } from './resources.ts';
import { validateConfigs, validateSchema } from './validate.ts';

/** Rejects only with faults of our own. */
export async function answerTo(request: IncomingMessage, objects: Objects, keeper: Keeper): Promise<Answer> {
  try {
    return await route(request, objects, keeper);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.message === notFoundWords
      ? { status: 404, body: { message: error.message } }
      : answerOf(error);
  }
}

async function route(request: IncomingMessage, objects: Objects, keeper: Keeper): Promise<Answer> {
  const { method = '' } = request;
  const { steps, query } = parse(request.url ?? '');
  if (steps[0] !== 'apisix' || steps[1] !== 'admin') throw nothingHere;
  if (method === 'HEAD' && steps.length === 2) return { status: 200 };
  const refused = await keeper.refusalOf(request);
  if (refused) return refused;
  const [kind = '', id, ...below] = steps.slice(2);
  const isAbout = (...wanted: readonly string[]) => wanted.every((step, index) => steps[index + 2] === step);
  if (isAbout('configs', 'validate')) return validateConfigs(await bodyOfPost(request));
  if (isAbout('schema', 'validate')) return validateSchema(below[0], await bodyOfPost(request));
  if (kind === '') throw nothingHere;
  if (!isKind(kind)) throw new Refusal(404, `there are no ${kind} here; there are ${kinds.join(', ')}`);
  const body = method === 'GET' || method === 'DELETE' ? undefined : await readBody(request);
  return answerAbout({ method, kind, id, below, query, body }, objects);
}

const nothingHere = new Refusal(404, `there is nothing here; see /apisix/admin/{${kinds.join(',')}}`);

async function bodyOfPost(request: IncomingMessage): Promise<unknown> {
  if (request.method !== 'POST') throw new Refusal(405, 'this takes POST');
  return readBody(request);
}

/** The steps of the path, without empty ones. Throws a Refusal. */
function parse(url: string): { steps: readonly string[]; query: URLSearchParams } {
  const [path = '', ...query] = url.split('?');
  try {
    const steps = path.split('/').filter((step) => step !== '');
    return { steps: steps.map(decodeURIComponent), query: new URLSearchParams(query.join('?')) };
  } catch {
    throw new Refusal(400, 'the address is not well encoded');
  }
}
