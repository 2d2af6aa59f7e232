/** Checks objects without storing any: `configs/validate` and `schema/validate/KIND`. */

import { formatPath } from '../../config/finding.ts';
import { isFields, isKind, type Kind, kinds } from '../apisix/objects.ts';
import { troublesOf } from '../apisix/schema.ts';
import { type Answer, Refusal } from './answer.ts';
import { faultsOf } from './objects-check.ts';

type Fault = {
  readonly resource_type: string;
  readonly resource_id: string;
  readonly index: number;
  readonly error: string;
};

/** Objects by kind, in lists. References between them are not followed. */
export function validateConfigs(body: unknown): Answer {
  if (body === undefined) throw new Refusal(400, 'invalid body: it is empty');
  if (!isFields(body)) throw new Refusal(400, 'invalid body: expected lists of objects by kind');
  const errors = Object.entries(body).flatMap(([kind, items]) => {
    if (kind.endsWith('_conf_version') || (Array.isArray(items) && items.length === 0)) return [];
    if (isKind(kind) && Array.isArray(items)) return faultsInList(kind, items);
    const error = isKind(kind)
      ? 'expected a list'
      : `there are no ${kind} here; there are ${kinds.join(', ')}`;
    return [{ resource_type: kind, resource_id: '', index: 0, error }];
  });
  if (errors.length === 0) return { status: 200, body: {} };
  return { status: 400, body: { error_msg: 'Configuration validation failed', errors } };
}

function faultsInList(kind: Kind, items: readonly unknown[]): Fault[] {
  const seen = new Set<string>();
  return items.flatMap((item, index) => {
    const value = isFields(item) ? item : {};
    const id = value['id'] === undefined ? '' : String(value['id']);
    const faults = isFields(item) ? faultsOf(kind, item) : ['expected a mapping'];
    if (id !== '' && seen.has(id)) faults.push(`the id ${id} is there twice`);
    seen.add(id);
    return faults.map((error) => ({ resource_type: kind, resource_id: id, index, error }));
  });
}

/** One object, without its keys and certificates. */
export function validateSchema(kind: string | undefined, body: unknown): Answer {
  if (kind === undefined || !isKind(kind))
    throw new Refusal(404, `there are no ${kind ?? 'such objects'} here`);
  if (!isFields(body)) throw new Refusal(400, 'expected a JSON object');
  const faults = troublesOf(kind, body).map(({ path, message }) => `${formatPath(path)}: ${message}`);
  if (faults.length > 0) throw new Refusal(400, faults.join('; '));
  return { status: 200 };
}
