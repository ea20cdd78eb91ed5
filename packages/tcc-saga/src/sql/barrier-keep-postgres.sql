update tx_barrier set result = $1::json where gid = $2 and branch = $3 and op = $4 and seq = $5
