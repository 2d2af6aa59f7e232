/**
 * Finds out whether TLS 1.2 resumes sessions: by tickets, which the client keeps, and by IDs, which the
 * server must remember.
 */

import { tls12 } from '../../../openssl/registries.ts';
import type { Asker } from './asker.ts';

/** Asks only if handshakes complete, since only those create sessions. */
export async function askResumption({ shake, findings }: Asker): Promise<void> {
  const { resumption, clientCertificate } = findings;
  if (findings.versions.get(tls12) !== true || findings.lenient) return;
  if (clientCertificate === 'required' || clientCertificate === 'refused') return;
  const versions = { min: 'TLSv1.2', max: 'TLSv1.2' } as const;
  const resumes = async (session: Buffer | undefined, noTicket: boolean) =>
    session !== undefined && (await shake({ versions, noTicket, session })).resumed;
  const { session, hasTicket, version } = await shake({ versions });
  if (version === undefined) return;
  resumption.tickets = hasTicket && (await resumes(session, false));
  const withoutTicket = await shake({ versions, noTicket: true });
  resumption.ids = await resumes(withoutTicket.session, true);
}
