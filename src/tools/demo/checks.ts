/** Checks whether the demo's first connections went as they should. */
import { type Attempt, type AttemptOutcome, patienceMs, sayHello } from './client.ts';
import type { Listeners } from './config.ts';
import type { DemoLog } from './log.ts';
import type { DemoPki } from './pki.ts';
import type { Upstreams } from './upstreams.ts';

/** Everything that a mode's connections need. */
export type Surroundings = {
  readonly listeners: Listeners;
  readonly upstreams: Upstreams;
  readonly pki: DemoPki;
  readonly log: DemoLog;
};

/** The result of one attempt; `text` says what happened, in one or more lines. */
export type Check = { readonly ok: boolean; readonly text: string };

/** Whether the upstream was reached: the certificate seen and the upstream's words are as expected. */
export async function welcomed(
  around: Surroundings,
  attempt: Attempt,
  subject: string,
  says: string,
): Promise<Check[]> {
  const outcome = await sayHello(attempt);
  const heard = outcome.answer.endsWith('you said: hello\n');
  return judge(around, heard ? outcome : { ...outcome, answer: '' }, subject, says);
}

/** The same for the outcome of any connection. The log must agree. */
export async function judge(
  { log }: Surroundings,
  { client, version, certificate, answer, error }: AttemptOutcome,
  subject: string,
  says: string,
): Promise<Check[]> {
  if (certificate === undefined) return [{ ok: false, text: `no connection: ${error}` }];
  const line = await log.lineOf(client, patienceMs);
  const code = line ? line.code : 'no line in the log';
  return [
    {
      ok: certificate.subject === subject,
      text: `${version}, certificate ${certificate.subject} of ${certificate.issuer}`,
    },
    answer.includes(says) && code === undefined
      ? { ok: true, text: `upstream: ${answer.trimEnd().replaceAll('\n', '\n          ')}` }
      : { ok: false, text: `not the answer expected: ${code ?? error ?? answer}` },
  ];
}

/** penstock let nothing through, and the log says why. */
export async function refused(
  around: Surroundings,
  who: string,
  attempt: Attempt,
  code: string,
): Promise<Check> {
  const outcome = await sayHello(attempt);
  if (outcome.answer !== '') return { ok: false, text: `${who}: let in` };
  return withCode(around, outcome, who, code);
}

/** The same for a client that is refused in its own protocol. */
export async function explained(
  around: Surroundings,
  who: string,
  outcome: AttemptOutcome,
  words: string,
  code: string,
): Promise<Check> {
  if (!outcome.answer.includes(words)) {
    return { ok: false, text: `${who}: ${outcome.error ?? outcome.answer}` };
  }
  return withCode(around, outcome, who, code);
}

async function withCode(
  { log }: Surroundings,
  { client }: AttemptOutcome,
  who: string,
  code: string,
): Promise<Check> {
  const line = await log.lineOf(client, patienceMs);
  return { ok: line?.code === code, text: `${who}: refused, ${line?.code ?? 'without a code'}` };
}

/** The upstream itself refused, without penstock being involved. */
export function refusedByUpstream({ answer, error }: AttemptOutcome, who: string): Check {
  const ok = answer === '' && error?.includes('certificate required') === true;
  return { ok, text: `${who}: ${ok ? 'refused by the upstream' : (error ?? answer)}` };
}
