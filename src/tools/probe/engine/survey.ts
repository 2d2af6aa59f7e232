/**
 * Asks an endpoint what it offers, one connection at a time, within the limit. The most important questions
 * come first, in case the survey ends early.
 */
import { tls10, tls11, tls12 } from '../../../openssl/registries.ts';
import { type Asker, createAsker, Stop } from './asker.ts';
import { askCertificates } from './certificates.ts';
import { askCiphers, askGroups } from './choices.ts';
import { Failure } from './failure.ts';
import { type Findings, noFindings, type Questions } from './findings.ts';
import { introduce } from './introduce.ts';
import { askResumption } from './resumption.ts';

/**
 * Throws a Failure if the endpoint cannot be reached, or speaks no TLS. Later failures only end the survey.
 */
export async function survey(questions: Questions): Promise<Findings> {
  const findings = noFindings();
  const asker = createAsker(questions, findings);
  const first = await introduce(asker);
  try {
    await askCertificates(asker);
    await askVersions(asker);
    await askResumption(asker);
    await askProtocols(asker);
    await askGroups(asker, first);
    await askCiphers(asker, first);
  } catch (error) {
    if (!(error instanceof Stop || error instanceof Failure)) throw error;
    findings.stopped =
      error instanceof Stop ? error.message : `${error.message}: it may limit how often one address connects`;
  }
  return findings;
}

/** Asks for the versions below the one it chose freely. */
async function askVersions({ ask, questions, findings: { versions } }: Asker): Promise<void> {
  for (const version of [tls12, tls11, tls10]) {
    if (versions.has(version)) continue;
    const reply = await ask({ versions: [version], ciphers: questions.ciphers12 });
    versions.set(version, reply.kind === 'flight' && reply.version === version);
  }
}

/** A server picks one of the protocols offered, so offer the others again without it. */
async function askProtocols({ shake, questions, findings }: Asker): Promise<void> {
  const accepted: string[] = [];
  findings.alpn = accepted;
  for (let left = questions.protocols; left.length > 0; ) {
    const { alpn } = await shake({ alpn: left });
    if (alpn === undefined || !left.includes(alpn)) return;
    accepted.push(alpn);
    left = left.filter((name) => name !== alpn);
  }
}
