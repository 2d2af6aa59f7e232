/**
 * ldapts: at the `url` of its argument, JSON, asks for TLS by StartTLS, logs in as `dn` with `password`, and prints as JSON which versions of LDAP
 * the root entry names, or the error's message. `tls` are options of Node's TLS.
 */
import { Client } from 'ldapts';

const { url, tls, dn, password } = JSON.parse(process.argv[2]);
const client = new Client({ url, connectTimeout: 20_000, timeout: 20_000 });
try {
  await client.startTLS(tls);
  await client.bind(dn, password);
  const { searchEntries } = await client.search('', { scope: 'base', attributes: ['supportedLDAPVersion'] });
  console.log(JSON.stringify({ versions: searchEntries[0]?.supportedLDAPVersion }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
} finally {
  await client.unbind().catch(() => {});
}
