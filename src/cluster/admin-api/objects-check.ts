/** Checks of one object, before it is tried together with the rest. */
import { formatPath } from '../../config/finding.ts';
import { type Fields, isFields, isId, type Kind, keyOf, type State, words } from '../apisix/objects.ts';
import { troublesOf } from '../apisix/schema.ts';
import { Refusal } from './answer.ts';
import { troubleWithPairs } from './pairs.ts';
import { missingReference } from './references.ts';

/** The id of a PUT or PATCH: that of the address, or else of the body; both must agree. Throws a Refusal. */
export function idOf(kind: Kind, written: string | undefined, value: Fields): string {
  const inside = value['id'];
  const id = written ?? (inside === undefined ? undefined : String(inside));
  if (id === undefined) throw new Refusal(400, `missing ${words[kind]} id`);
  if (inside !== undefined && String(inside) !== id) {
    throw new Refusal(400, `wrong ${words[kind]} id: the address has another than the body`);
  }
  if (isId(id)) return id;
  throw new Refusal(400, 'an id has 1 to 64 letters, digits, "-", "_" and "."');
}

/** A body that is to be stored. Throws a Refusal. */
export function fieldsOf(body: unknown): Fields {
  if (body === undefined) throw new Refusal(400, 'missing configuration: the body is empty');
  if (!isFields(body)) throw new Refusal(400, 'invalid configuration: expected a JSON object');
  return body;
}

/** These are set here; clients may not. Throws a Refusal. */
export function refuseTimes(value: Fields): void {
  const inside = isFields(value['upstream']) ? value['upstream'] : {};
  for (const key of ['create_time', 'update_time']) {
    if (value[key] !== undefined) throw new Refusal(400, `the property is forbidden: ${key}`);
    if (inside[key] !== undefined) throw new Refusal(400, `the property is forbidden: upstream.${key}`);
  }
}

/** Every fault of the object itself, as lines. */
export function faultsOf(kind: Kind, value: Fields): string[] {
  const troubles = troublesOf(kind, value).map(({ path, message }) =>
    path.length === 0 ? message : `${formatPath(path)}: ${message}`,
  );
  if (troubles.length > 0 || kind !== 'ssls') return troubles;
  const trouble = troubleWithPairs(value);
  return trouble === undefined ? [] : [trouble];
}

/** Throws a Refusal. */
export function refuseFaulty(kind: Kind, id: string, value: Fields, state: State): void {
  const key = keyOf({ kind, id });
  const faults = faultsOf(kind, value);
  if (faults.length > 0) throw new Refusal(400, `invalid configuration: ${key}: ${faults.join('; ')}`);
  const missing = missingReference(kind, value, state);
  if (missing === undefined) return;
  const message = `${key}: ${missing.path}: there is no ${words[missing.kind]} ${missing.id}; create it first`;
  throw new Refusal(400, `invalid configuration: ${message}`);
}
