/** What penstock and its neighbours show each other: one CA, a server for db.example, a client called "neighbour". */
import { createAuthority } from '../support/certificates.ts';

const ca = await createAuthority({ name: 'Ours' });
const server = await ca.issue({ dns: ['db.example'], usage: 'server' });
const client = await ca.issue({ cn: 'neighbour', usage: 'client' });

/** By file name; HAProxy wants a certificate and its key in one (`.pem`). */
export const neighbourFiles = {
  'ca.pem': ca.cert,
  'server.crt': server.cert,
  'server.key': server.key,
  'client.crt': client.cert,
  'client.key': client.key,
  'server.pem': server.cert + server.key,
  'client.pem': client.cert + client.key,
};
