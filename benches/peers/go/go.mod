module busbar/bench/peer

go 1.24
