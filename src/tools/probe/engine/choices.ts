/**
 * Finds the ciphers and groups the server accepts, and whose order decides: offers all, removes the chosen
 * one, and repeats.
 */

import { tls12, tls13 } from '../../../openssl/registries.ts';
import type { Asker } from './asker.ts';
import type { Accepted } from './findings.ts';
import type { Flight } from './flight.ts';

/** Key-exchange groups, by TLS 1.3 if the server has it. `first` is what it chose when offered everything. */
export async function askGroups({ ask, questions, findings }: Asker, first: Flight): Promise<void> {
  const version = first.version >= tls13 ? tls13 : tls12;
  if (findings.versions.get(version) !== true) return;
  findings.groups = none();
  await fill(
    findings.groups,
    questions.groups,
    first.version === version ? first.group : undefined,
    async (groups) => {
      const ciphers = version === tls13 ? questions.ciphers13 : questions.ecdhe12;
      const reply = await ask({ versions: [version], groups, ciphers });
      return reply.kind === 'flight' ? reply.group : undefined;
    },
  );
}

/** Cipher suites of TLS 1.3 and TLS 1.2. */
export async function askCiphers({ ask, questions, findings }: Asker, first: Flight): Promise<void> {
  const choose = (version: number) => async (ciphers: readonly number[]) => {
    const reply = await ask({ versions: [version], ciphers });
    return reply.kind === 'flight' && reply.version === version ? reply.cipher : undefined;
  };
  const known = (version: number) => (first.version === version ? first.cipher : undefined);
  if (findings.versions.get(tls13)) {
    findings.ciphers13 = none();
    await fill(findings.ciphers13, questions.ciphers13, known(tls13), choose(tls13));
  }
  if (findings.versions.get(tls12)) {
    findings.ciphers12 = none();
    await fill(findings.ciphers12, questions.ciphers12, known(tls12), choose(tls12));
  }
}

function none(): Accepted {
  return { values: [], preference: undefined };
}

/**
 * Records the choices from `values` one after another, then asks once more in reverse order. Keeps what was
 * recorded if a question ends the survey.
 */
async function fill(
  accepted: Accepted,
  values: readonly number[],
  known: number | undefined,
  choose: (values: readonly number[]) => Promise<number | undefined>,
): Promise<void> {
  const noted = accepted.values;
  for (let left = values; left.length > 0; left = left.filter((value) => !noted.includes(value))) {
    const chosen = noted.length === 0 && known !== undefined ? known : await choose(left);
    // A value that was not offered is no choice, and the server might choose it forever.
    if (chosen === undefined || !left.includes(chosen)) break;
    noted.push(chosen);
  }
  if (noted.length < 2) return;
  const again = await choose([...noted].reverse());
  accepted.preference = again === noted[0] ? 'server' : 'client';
}
