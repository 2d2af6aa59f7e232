/**
 * Java's TLS (JSSE) writes the last flight of a TLS 1.2 handshake in several pieces, and reads nothing in between: a client that is
 * refused meanwhile says which alert it got, and never "Broken pipe" or "Connection reset".
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { startTerminating } from '../support/terminating.ts';
import { run } from './process.ts';

/** Connects as often as it is told to, without a certificate, and prints what came of it each time. */
const program = `
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

public class Refused {
  public static void main(String[] args) throws Exception {
    TrustManager trusting = new X509TrustManager() {
      public void checkClientTrusted(X509Certificate[] chain, String type) {}
      public void checkServerTrusted(X509Certificate[] chain, String type) {}
      public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    };
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] { trusting }, null);
    for (int i = 0; i < Integer.parseInt(args[2]); i++) {
      try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(args[0]))) {
        socket.setEnabledProtocols(new String[] { args[1] });
        socket.startHandshake();
        System.out.println("read " + socket.getInputStream().read());
      } catch (Exception e) {
        System.out.println(e.getMessage());
      }
    }
  }
}
`;

test('a Java client without a certificate', async (t) => {
  const clients = await createAuthority();
  const proxy = await startTerminating(t, {
    listeners: { one: [{ tls: { client_auth: { authority: 'clients' } } }] },
    authorities: { clients: { ca: clients.cert } },
  });
  const directory = temporaryDirectory(t);
  const { source } = writeFiles(directory, { 'Refused.java': program, source: program });
  assert.ok(source);
  const rounds = 10;
  for (const [version, alert] of [
    ['TLSv1.2', 'handshake_failure'],
    ['TLSv1.3', 'certificate_required'],
  ] as const) {
    await t.test(`of ${version} reads ${alert}`, async () => {
      const { stdout, stderr } = await run('java', [
        `${directory}/Refused.java`,
        String(proxy.port()),
        version,
        String(rounds),
      ]);
      const said = stdout.trim().split('\n');
      assert.deepEqual(said, Array(rounds).fill(`Received fatal alert: ${alert}`), stderr);
    });
  }
});
