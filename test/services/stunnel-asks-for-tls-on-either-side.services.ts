/**
 * stunnel on either side of penstock, where it knows the protocol (HAProxy knows none of them): as a client it asks our listener for TLS by SMTP,
 * IMAP, POP3, PostgreSQL's SSLRequest and LDAP, and as a server, which has no LDAP, it is asked by us. What a client says arrives, and the
 * answer comes back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { askedServer } from '../support/client-first.ts';
import { eventually } from '../support/eventually.ts';
import { mailServer, mailWords } from '../support/mail.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { serve } from './process.ts';

const serverName = 'mail.example.com';
const own = await ownCertificate(serverName);

const startup = Buffer.from('\0\0\0\x11\0\x03\0\0user\0app\0\0', 'latin1');

type Case = {
  readonly name: 'smtp' | 'imap' | 'pop3' | 'postgres' | 'ldap';
  /** As stunnel calls it. */
  readonly protocol: string;
  /** Whether stunnel knows it as a server. */
  readonly isServer: boolean;
  readonly says: Buffer;
  /** How what the client reads must end. */
  readonly answer: Buffer;
  /** Starts what is behind all of it. Returns its port. */
  readonly behind: (t: TestContext) => Promise<number>;
};

const mail = (name: 'smtp' | 'imap' | 'pop3'): Case => ({
  name,
  protocol: name,
  isServer: true,
  says: Buffer.from(mailWords[name].ping[0]),
  answer: Buffer.from(mailWords[name].ping[1]),
  behind: async (t) => (await mailServer(t, name, 'plain', own.credential)).port,
});

const cases: readonly Case[] = [
  mail('smtp'),
  mail('imap'),
  mail('pop3'),
  {
    name: 'postgres',
    protocol: 'pgsql',
    isServer: true,
    says: startup,
    answer: startup,
    behind: async (t) => (await tcpUpstream(t, (socket) => void socket.pipe(socket))).port,
  },
  {
    name: 'ldap',
    protocol: 'ldap',
    isServer: false,
    says: startup,
    answer: startup,
    behind: async (t) => (await askedServer(t, 'ldap', 'plain', own.credential)).port,
  },
];

for (const { name, protocol, isServer, says, answer, behind } of cases) {
  test(`${name}: stunnel, penstock, ${isServer ? 'stunnel, ' : ''}and a server without TLS`, async (t) => {
    const directory = temporaryDirectory(t);
    writeFiles(directory, own.files);
    const [last, asked, asking] = [await behind(t), await closedPort(), await closedPort()];
    const tls = { starttls: name, authority: 'test', server_name: serverName };
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: {
          it: { starttls: name, routes: [{ sni: serverName, tls: { certificates: 'own' }, upstream: 'it' }] },
        },
        upstreams: {
          it: isServer ? { endpoints: [`127.0.0.1:${asked}`], tls } : { endpoints: [`127.0.0.1:${last}`] },
        },
      },
      own.files,
    );
    const common = `protocol = ${protocol}\naccept = 127.0.0.1`;
    const client = `client = yes\nCAfile = ca.crt\nverifyChain = yes\ncheckHost = ${serverName}\nsni = ${serverName}\n`;
    const settings = [
      'foreground = yes\nsyslog = no\npid =\nsslVersionMin = TLSv1.2\n',
      `[asks]\n${common}:${asking}\nconnect = 127.0.0.1:${proxy.port()}\n${client}`,
      isServer
        ? `[asked]\n${common}:${asked}\nconnect = 127.0.0.1:${last}\ncert = own.crt\nkey = own.key\n`
        : '',
    ];
    writeFiles(directory, { 'stunnel.conf': settings.join('\n') });
    await serve(t, 'stunnel', [join(directory, 'stunnel.conf')], {
      cwd: directory,
      ready: () => (isServer ? accepts(asked) : accepts(asking)),
    });
    const socket = connect(asking, '127.0.0.1');
    t.after(() => socket.destroy());
    const received: Buffer[] = [];
    socket.on('data', (data: Buffer) => received.push(data));
    await once(socket, 'connect');
    socket.write(says);
    await eventually(() => {
      const all = Buffer.concat(received);
      assert.ok(all.subarray(-answer.length).equals(answer), all.toString('latin1'));
    });
    socket.destroy();
    const line = await proxy.connectionLine((one) => one['upstream'] === 'it');
    assert.equal(line['sni'], serverName);
    assert.equal('upstream_tls' in line, isServer);
  });
}
