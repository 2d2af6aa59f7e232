#!/usr/bin/env escript
%% Erlang's ssl. Words and output: client.h
-mode(compile).

main(Words) ->
    application:ensure_all_started(ssl),
    logger:set_primary_config(level, none),
    Given = maps:from_list([list_to_tuple(string:split(Word, "=")) || Word <- Words]),
    Asked = maps:merge(#{"connections" => "1", "bytes" => "100", "do" => "echo"}, Given),
    Payload = string:pad(maps:get("name", Asked), number("bytes", Asked), trailing, $.),
    [converse(Asked, iolist_to_binary(Payload)) || _ <- lists:seq(1, number("connections", Asked))].

number(Key, Asked) -> list_to_integer(maps:get(Key, Asked)).

converse(#{"version" := Version, "name" := Name, "do" := Do} = Asked, Payload) ->
    {ok, Raw} = gen_tcp:connect({127, 0, 0, 1}, number("port", Asked), [binary, {active, false}]),
    case ssl:connect(Raw, options(Version, Name, Asked)) of
        {ok, Socket} ->
            %% One that was refused meanwhile has no information any more; why is among the messages by then.
            case ssl:connection_information(Socket, [session_resumption]) of
                {ok, [{session_resumption, Resumed}]} ->
                    Word = case Resumed of true -> resumed; false -> full end,
                    io:format("connected TLSv~s ~s~n", [Version, Word]),
                    talk(Do, Raw, Socket, Payload);
                {error, Reason} -> report(receive {ssl_error, Socket, Told} -> Told after 0 -> Reason end)
            end,
            ssl:close(Socket);
        {error, Reason} -> report(Reason)
    end.

options(Version, Name, Asked) ->
    %% Unless it is told that this is as with HTTPS, a wildcard is no match.
    Match = [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}],
    Same = [
        {server_name_indication, Name},
        {verify, verify_peer},
        {cacertfile, maps:get("ca", Asked)},
        {customize_hostname_check, Match},
        {active, true}
    ],
    ByVersion = case Version of
        "1.3" -> [{versions, ['tlsv1.3']}, {session_tickets, auto}];
        "1.2" -> [{versions, ['tlsv1.2']}, {reuse_sessions, save}]
    end,
    Certificate = case Asked of
        #{"cert" := Cert, "key" := Key} -> [{certfile, Cert}, {keyfile, Key}];
        _ -> []
    end,
    Same ++ ByVersion ++ Certificate.

talk("reset", Raw, Socket, Payload) ->
    ok = inet:setopts(Raw, [{linger, {true, 0}}]),
    ok = ssl:send(Socket, Payload),
    io:format("reset~n"),
    erlang:halt(0);
talk("keyupdate", _, Socket, Payload) ->
    [begin ok = ssl:update_keys(Socket, read_write), echo(Socket, Payload) end || _ <- [1, 2]];
talk(_, _, Socket, Payload) ->
    echo(Socket, Payload).

%% As messages, because an alert that comes while nobody is receiving is lost to ssl:recv: it says `closed`.
echo(Socket, Payload) ->
    ssl:send(Socket, Payload),
    receive_all(Socket, byte_size(Payload), byte_size(Payload)).

receive_all(_, 0, Length) -> io:format("echoed ~b~n", [Length]);
receive_all(Socket, Left, Length) ->
    receive
        {ssl, Socket, Bytes} -> receive_all(Socket, Left - byte_size(Bytes), Length);
        {ssl_error, Socket, Reason} -> report(Reason);
        {ssl_closed, Socket} -> report(closed)
    end.

report({tls_alert, {Alert, _}}) -> io:format("failed ~s~n", [Alert]);
report(Reason) -> io:format("failed ~p~n", [Reason]).
