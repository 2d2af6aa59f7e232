#!/usr/bin/env bash
# Guess: a TLS 1.3 client that is refused for want of a certificate hears so from the first read, whenever it reads: the alert comes
# after its own handshake is done, and libraries keep it for whoever asks.
# Seen: Erlang's ssl with {active, false} keeps it for nobody. ssl:recv that waits when the alert comes returns
# {error, {tls_alert, {certificate_required, …}}}; one that begins a moment later, and ssl:send, {error, closed}, and the reason is
# nowhere. With {active, true} it comes as a message, {ssl_error, …}, at any time. So a refused Erlang program says "closed" or the
# alert, as the machine's load has it.
# Versions: Debian 12's erlang-base and erlang-ssl 1:25.2.3 (OTP 25), openssl 3.0.22 (s_server). 28 November 2026.
# Source: lib/ssl/src/ssl_gen_statem.erl of Erlang/OTP (alert_user calls send_or_reply, which for a passive socket without a caller is `ok`).
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
dpkg-query -W -f '${Version}' erlang-ssl 2>/dev/null | grep -q '^1:25\.2\.3' ||
  apt-get install -y -q --no-install-recommends 'erlang-base=1:25.2.3*' 'erlang-ssl=1:25.2.3*' openssl
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl s_server -accept "127.0.0.1:$port" -cert cert.pem -key key.pem -tls1_3 -Verify 1 -verify_return_error -quiet \
  </dev/null >/dev/null 2>&1 &
server=$!
cat > try.escript <<'END'
#!/usr/bin/env escript
main([Port]) ->
    application:ensure_all_started(ssl),
    logger:set_primary_config(level, none),
    Open = fun(Active) ->
        Options = [{active, Active}, {versions, ['tlsv1.3']}, {verify, verify_none}],
        {ok, Socket} = ssl:connect({127, 0, 0, 1}, list_to_integer(Port), Options),
        Socket
    end,
    Early = Open(false),
    io:format("receiving when it comes: ~p~n", [word(ssl:recv(Early, 0, 5000))]),
    Late = Open(false),
    timer:sleep(1000),
    io:format("receiving after that: ~p~n", [word(ssl:recv(Late, 0, 5000))]),
    Sender = Open(false),
    timer:sleep(1000),
    io:format("sending after that: ~p~n", [word(ssl:send(Sender, <<"x">>))]),
    Open(true),
    io:format("active: ~p~n", [receive {ssl_error, _, Reason} -> word({error, Reason}) after 5000 -> nothing end]).

word({error, {tls_alert, {Alert, _}}}) -> Alert;
word({error, Reason}) -> Reason;
word(Other) -> Other.
END
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done
escript try.escript "$port" | tee seen
printf '%s\n' 'receiving when it comes: certificate_required' 'receiving after that: closed' \
  'sending after that: closed' 'active: certificate_required' | diff seen -
