// Three nodes of etcd's raft in one thread, with its MemoryStorage and its RawNode. Reads "window milliseconds" by line
// and answers each with a line of JSON, like ../process.ts. With the argument "together", commands that are there
// together are proposed in one message; the method Propose takes one, and sends it at once.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"syscall"
	"time"

	"go.etcd.io/etcd/raft"
	pb "go.etcd.io/etcd/raft/raftpb"
)

const (
	commandBytes    = 256
	keptEntries     = 1000
	snapshotEntries = 10000
)

type node struct {
	raw        *raft.RawNode
	storage    *raft.MemoryStorage
	inbox      []pb.Message
	conf       *pb.ConfState
	snapshotAt uint64
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newNodes() map[uint64]*node {
	peers := []raft.Peer{{ID: 1}, {ID: 2}, {ID: 3}}
	nodes := map[uint64]*node{}
	for _, peer := range peers {
		storage := raft.NewMemoryStorage()
		raw, err := raft.NewRawNode(&raft.Config{
			ID: peer.ID, Storage: storage, ElectionTick: 10, HeartbeatTick: 1, MaxSizePerMsg: 1 << 20,
			MaxInflightMsgs: 256, CheckQuorum: true, PreVote: true,
			Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
		})
		check(err)
		check(raw.Bootstrap(peers))
		nodes[peer.ID] = &node{raw: raw, storage: storage, snapshotAt: snapshotEntries}
	}
	return nodes
}

// turn lets every node do what it has to do once, and returns how many commands the first one applied.
func turn(nodes map[uint64]*node) int {
	applied := 0
	for id := uint64(1); id <= 3; id++ {
		n := nodes[id]
		messages := n.inbox
		n.inbox = nil
		for _, message := range messages {
			check(n.raw.Step(message))
		}
		for n.raw.HasReady() {
			ready := n.raw.Ready()
			if !raft.IsEmptyHardState(ready.HardState) {
				check(n.storage.SetHardState(ready.HardState))
			}
			check(n.storage.Append(ready.Entries))
			for _, message := range ready.Messages {
				nodes[message.To].inbox = append(nodes[message.To].inbox, message)
			}
			last := uint64(0)
			for _, entry := range ready.CommittedEntries {
				last = entry.Index
				if entry.Type == pb.EntryConfChange {
					var change pb.ConfChange
					check(change.Unmarshal(entry.Data))
					n.conf = n.raw.ApplyConfChange(change)
				} else if id == 1 && len(entry.Data) == commandBytes {
					applied++
				}
			}
			n.raw.Advance(ready)
			if last >= n.snapshotAt {
				n.snapshotAt = last + snapshotEntries
				_, err := n.storage.CreateSnapshot(last, n.conf, nil)
				check(err)
				check(n.storage.Compact(last - keptEntries))
			}
		}
	}
	return applied
}

func cpu() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func main() {
	nodes := newNodes()
	turn(nodes)
	check(nodes[1].raw.Campaign())
	for i := 0; i < 20; i++ {
		turn(nodes)
	}
	command := make([]byte, commandBytes)
	together := len(os.Args) > 1 && os.Args[1] == "together"
	propose := func(count int) {
		if count == 0 {
			return
		}
		if together {
			entries := make([]pb.Entry, count)
			for i := range entries {
				entries[i].Data = command
			}
			check(nodes[1].raw.Step(pb.Message{Type: pb.MsgProp, From: 1, Entries: entries}))
			return
		}
		for ; count > 0; count-- {
			check(nodes[1].raw.Propose(command))
		}
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var window, ms int
		_, err := fmt.Sscan(input.Text(), &window, &ms)
		check(err)
		start, cpuBefore := time.Now(), cpu()
		count, underWay := 0, 0
		for time.Since(start) < time.Duration(ms)*time.Millisecond {
			for turns := 0; turns < 16; turns++ {
				propose(window - underWay)
				underWay = window
				applied := turn(nodes)
				underWay -= applied
				count += applied
			}
		}
		elapsed, spent := time.Since(start), cpu()-cpuBefore
		for underWay > 0 {
			underWay -= turn(nodes)
		}
		fmt.Printf("{\"count\":%d,\"ms\":%f,\"cpuUs\":%d}\n", count, float64(elapsed)/1e6, spent.Microseconds())
	}
}
