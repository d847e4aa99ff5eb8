%% Two Erlang nodes: what actors.ts asks for, done by processes, here and on the other node.
%%   erl -name NODE -s counting far      the one that is only there
%%   erl -name NODE -s counting near FAR reads orders, a line each: FEAT here|there COUNT; answers with a line each
-module(counting).
-export([far/0, near/1, counter/1]).

far() -> io:format("ready~n").

near([Far]) ->
    pong = net_adm:ping(Far),
    Here = spawn(?MODULE, counter, [0]),
    There = spawn(Far, ?MODULE, counter, [0]),
    io:format("ready~n"),
    orders(#{"here" => {node(), Here}, "there" => {Far, There}}).

orders(Places) ->
    case io:get_line("") of
        eof -> halt();
        Line ->
            [Feat, Place, Count] = string:tokens(string:trim(Line), " "),
            {Node, One} = maps:get(Place, Places),
            io:format("~w~n", [feat(list_to_atom(Feat), Node, One, list_to_integer(Count))]),
            orders(Places)
    end.

counter(N) ->
    receive
        {add, K} -> counter(N + K);
        {total, From, Ref} -> From ! {Ref, N}, counter(N);
        stop -> ok
    end.

total(One) ->
    Ref = make_ref(),
    One ! {total, self(), Ref},
    receive {Ref, N} -> N end.

%% Events a second. A full link makes the sender wait.
feat(send, _, One, Count) ->
    Before = total(One),
    Begun = now_us(),
    flood(One, Count),
    Count = total(One) - Before,
    Count / (now_us() - Begun) * 1.0e6;
%% Microseconds of the median.
feat(ask, _, One, Count) ->
    Before = total(One),
    Times = [begin Begun = now_us(), Before = total(One), now_us() - Begun end || _ <- lists:seq(1, Count)],
    lists:nth(Count div 2 + 1, lists:sort(Times));
%% Microseconds an actor.
feat(many, Node, _, Count) ->
    Begun = now_us(),
    All = all(Node, Count),
    [One ! stop || One <- All],
    gone(All),
    (now_us() - Begun) / Count;
%% KiB an actor.
feat(memory, Node, _, Count) ->
    erlang:garbage_collect(),
    Before = erlang:memory(total),
    All = all(Node, Count),
    erlang:garbage_collect(),
    Grown = erlang:memory(total) - Before,
    [One ! stop || One <- All],
    gone(All),
    Grown / Count / 1024.

%% Each has handled an event: it answers behind it.
all(Node, Count) ->
    All = [spawn(Node, ?MODULE, counter, [0]) || _ <- lists:seq(1, Count)],
    [One ! {add, 1} || One <- All],
    [1 = total(One) || One <- All],
    All.

gone(All) ->
    Refs = [monitor(process, One) || One <- All],
    [receive {'DOWN', Ref, _, _, _} -> ok end || Ref <- Refs],
    ok.

flood(_, 0) -> ok;
flood(One, Count) -> One ! {add, 1}, flood(One, Count - 1).

now_us() -> erlang:monotonic_time(nanosecond) / 1000.
