/** Frontends of HAProxy with rules at random. */
import fc from 'fast-check';

const names = ['a.example.com', 'b.example.com', 'x.a.example.com', 'other.test'];
const networks = ['10.41.0.0/16', '10.41.6.0/24', '127.0.0.1'];

const name = fc.constantFrom(...names);
const test = (fetch: string) =>
  fc.oneof(
    fc.subarray(names, { minLength: 1, maxLength: 2 }).map((some) => `${fetch} -i ${some.join(' ')}`),
    name.map((one) => `${fetch} -i -m end .${one}`),
    name.map((one) => `${fetch} -i -m dom ${one}`),
    fc.constantFrom('a.', 'x.').map((start) => `${fetch} -i -m beg ${start}`),
    fc.constant(`${fetch} -m found`),
    fc.constant(`${fetch} -i -m reg ^[a-z]\\.example\\.com$`),
    fc.constantFrom(...networks).map((network) => `src ${network}`),
    fc.constant(`src ${networks.join(' ')}`),
  );

/** `if { … } !{ … } or { … }`. */
const condition = (fetch: string) => {
  const term = fc
    .tuple(fc.boolean(), test(fetch))
    .map(([negated, inner]) => `${negated ? '!' : ''}{ ${inner} }`);
  const all = fc.array(term, { minLength: 1, maxLength: 2 }).map((terms) => terms.join(' '));
  const any = fc.array(all, { minLength: 1, maxLength: 2 }).map((parts) => parts.join(' or '));
  return fc.tuple(fc.constantFrom('if', 'unless'), any).map((words) => words.join(' '));
};

const rule = (fetch: string) =>
  fc.oneof(
    fc
      .tuple(fc.constantFrom('accept', 'reject'), condition(fetch))
      .map(([action, when]) => `tcp-request content ${action} ${when}`),
    fc
      .tuple(fc.constantFrom('one', 'two', 'three'), condition(fetch))
      .map(([to, when]) => `use_backend ${to} ${when}`),
    fc
      .tuple(fc.constantFrom('one', 'two', 'three'), condition(fetch))
      .map(([to, when]) => `use_backend ${to} ${when}`),
  );

const frontend = fc.oneof(
  fc.record({
    kind: fc.constant('passed'),
    rules: fc.array(rule('req.ssl_sni'), { minLength: 1, maxLength: 5 }),
  }),
  fc.record({
    kind: fc.constant('terminated'),
    rules: fc.array(rule('ssl_fc_sni'), { minLength: 1, maxLength: 5 }),
  }),
);

const options = fc.record({
  tls: fc.constantFrom(
    '',
    ' ca-file clients-ca.pem verify required',
    ' ca-file clients-ca.pem verify optional',
    ' strict-sni',
  ),
  fallback: fc.constantFrom('one', undefined),
});

/** With the backends one, two and three. */
export const randomConfiguration = fc.tuple(frontend, options).map(([{ kind, rules }, { tls, fallback }]) => {
  const isPassed = kind === 'passed';
  const lines = [
    isPassed ? 'bind LISTEN:8443' : `bind LISTEN:8443 ssl crt a.example.com.pem crt b.example.com.pem${tls}`,
    // A rule that needs the hello: HAProxy waits for no other, and then decides by chance.
    ...(isPassed
      ? ['tcp-request inspect-delay 2s', 'tcp-request content reject if { req.ssl_sni -i wait.invalid }']
      : []),
    // HAProxy warns of content rules behind use_backend, and reads them first anyway.
    ...rules.filter((one) => one.startsWith('tcp-request')),
    ...rules.filter((one) => !one.startsWith('tcp-request')),
    ...(fallback === undefined ? [] : [`default_backend ${fallback}`]),
  ];
  const backends = ['one', 'two', 'three'].map(
    (name, index) => `backend ${name}\n  server s 10.40.0.${index + 1}:8443\n`,
  );
  return `defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend front
${lines.map((line) => `  ${line}\n`).join('')}${backends.join('')}`;
});
