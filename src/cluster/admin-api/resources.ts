/** What each method does with `/apisix/admin/KIND/ID`. */
import {
  type Fields,
  isFields,
  type Kind,
  keyOf,
  type State,
  withoutKeys,
  words,
} from '../apisix/objects.ts';
import { type Answer, Refusal } from './answer.ts';
import { listOf, shown } from './lists.ts';
import { merged, replacedAt } from './merge.ts';
import { fieldsOf, idOf, refuseFaulty, refuseTimes } from './objects-check.ts';
import { userOf } from './references.ts';
import type { Writer, Written } from './writer.ts';

export type Request = {
  readonly method: string;
  readonly kind: Kind;
  readonly id: string | undefined;
  /** What follows the id. */
  readonly below: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
};

export type Objects = { readonly state: () => State; readonly writer: Writer };

type Method = (request: Request, objects: Objects) => Answer | Promise<Answer>;

const methods = new Map<string, Method>([
  ['GET', get],
  ['PUT', put],
  ['POST', post],
  ['PATCH', patch],
  ['DELETE', remove],
]);

/** Throws a Refusal, or returns one as an answer. */
export async function answerAbout(request: Request, objects: Objects): Promise<Answer> {
  const { method, kind, below, query } = request;
  const answer = methods.get(method);
  if (answer === undefined) return { status: 404, body: { error_msg: `nothing answers ${method} here` } };
  // Whoever means a part must not get, replace or delete the whole.
  if (below.length > 0 && method !== 'PATCH') throw new Refusal(404, 'below an id there is only PATCH');
  const ttl = query.get('ttl');
  if (ttl !== null && Number.isNaN(Number(ttl))) throw new Refusal(400, 'ttl is no number');
  if (Number(ttl ?? 0) !== 0) throw new Refusal(400, `a ${words[kind]} with a ttl cannot be kept here`);
  return answer(request, objects);
}

function get({ kind, id, query }: Request, { state }: Objects): Answer {
  if (id === undefined) return { status: 200, body: listOf(kind, state(), query) };
  const object = state().objects.get(keyOf({ kind, id }));
  return object === undefined ? notFound : { status: 200, body: shown(object) };
}

async function put({ kind, id: written, body }: Request, { writer }: Objects): Promise<Answer> {
  const given = fieldsOf(body);
  const id = idOf(kind, written, given);
  refuseTimes(given);
  let isNew = true;
  const done = await writer.change((state) => {
    const before = state.objects.get(keyOf({ kind, id }));
    isNew = before === undefined;
    const value = timed({ ...given, id }, before?.value);
    refuseFaulty(kind, id, value, state);
    return { kind, id, value, expected: before?.modified ?? 0 };
  }, false);
  return written2xx(isNew ? 201 : 200, done);
}

async function post({ kind, id: written, body }: Request, { writer }: Objects): Promise<Answer> {
  const given = fieldsOf(body);
  if (written !== undefined || given['id'] !== undefined) {
    throw new Refusal(400, `wrong ${words[kind]} id: POST chooses one`);
  }
  refuseTimes(given);
  const done = await writer.change((state) => {
    const id = freeId(kind, state);
    const value = timed({ ...given, id }, undefined);
    refuseFaulty(kind, id, value, state);
    return { kind, id, value, expected: 0 };
  }, false);
  return written2xx(201, done);
}

/** The next revision, unless somebody has chosen that for an id. */
function freeId(kind: Kind, { revision, objects }: State): string {
  for (let number = revision + 1; ; number++) {
    const id = String(number).padStart(20, '0');
    if (!objects.has(keyOf({ kind, id }))) return id;
  }
}

async function patch(request: Request, { writer }: Objects): Promise<Answer> {
  const { kind, id, below, body } = request;
  if (kind === 'stream_routes')
    return { status: 405, body: { error_msg: 'stream routes take no PATCH; use PUT' } };
  if (id === undefined) throw new Refusal(400, `missing ${words[kind]} id`);
  if (body === undefined) throw new Refusal(400, 'missing configuration: the body is empty');
  if (below.length === 0 && !isFields(body)) {
    throw new Refusal(400, 'invalid configuration: expected a JSON object');
  }
  const done = await writer.change((state) => {
    const before = state.objects.get(keyOf({ kind, id }));
    if (before === undefined) throw new Refusal(404, notFoundWords);
    const changed =
      below.length > 0 || !isFields(body)
        ? replacedAt(before.value, below, body)
        : merged(before.value, body);
    idOf(kind, id, changed);
    const value: Fields = { ...changed, id, update_time: seconds() };
    refuseFaulty(kind, id, value, state);
    return { kind, id, value, expected: before.modified };
  }, false);
  return written2xx(200, done);
}

async function remove({ kind, id, query }: Request, { writer }: Objects): Promise<Answer> {
  if (id === undefined) throw new Refusal(400, `missing ${words[kind]} id`);
  const force = query.get('force') === 'true';
  const key = keyOf({ kind, id });
  await writer.change((state) => {
    const before = state.objects.get(key);
    if (before === undefined) throw new Refusal(404, notFoundWords);
    const user = force ? undefined : userOf(kind, id, state);
    if (user !== undefined) {
      const by = `${words[user.kind]} [${user.id}]`;
      throw new Refusal(
        400,
        `this ${words[kind]} is in use: ${by} refers to it; force=true deletes it all the same`,
      );
    }
    return { kind, id, value: undefined, expected: before.modified };
  }, force);
  return { status: 200, body: { deleted: '1', key } };
}

export const notFoundWords = 'Key not found';
const notFound: Answer = { status: 404, body: { message: notFoundWords } };

function written2xx(status: number, { object, warnings }: Written): Answer {
  if (object === undefined) return { status: 503, body: { error_msg: 'it was deleted meanwhile' } };
  const { kind, value } = object;
  const body = { key: keyOf(object), value: withoutKeys(kind, value) };
  return { status, body: warnings.length === 0 ? body : { ...body, warnings } };
}

function timed(value: Fields, before: Fields | undefined): Fields {
  const now = seconds();
  return { ...value, create_time: before?.['create_time'] ?? now, update_time: now };
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
