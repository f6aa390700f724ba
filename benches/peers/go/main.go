// Quamina on one row: peer WORKLOAD RULES CATEGORY EVENTS SECONDS.
//
// Prints "added WORKLOAD RULES RULES/S BYTES/RULE" when it is ready, or "refused WORKLOAD WHY";
// then, for each line of input, one reading of processor time:
// "ENGINE WORKLOAD RULES EVENTS EVENTS/S NS/EVENT MATCHES".
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"quamina.net/go/quamina/v2"
)

func main() {
	if len(os.Args) != 6 {
		log.Fatal("WORKLOAD RULES CATEGORY EVENTS SECONDS")
	}
	workload, category := os.Args[1], os.Args[3]
	seconds, err := strconv.ParseFloat(os.Args[5], 64)
	check(err)
	rules, err := os.ReadFile(os.Args[2])
	check(err)
	patterns := patternsOf(string(rules), category)

	engine, err := quamina.New()
	check(err)
	before, start := liveBytes(), cpu()
	for id, pattern := range patterns {
		if err := engine.AddPattern(id, pattern); err != nil {
			fmt.Println("refused", workload, err)
			return
		}
	}
	adding := cpu() - start
	perRule := int64(liveBytes()-before) / int64(len(patterns))

	file, err := os.ReadFile(os.Args[4])
	check(err)
	events := bytes.Split(bytes.TrimSuffix(file, []byte("\n")), []byte("\n"))
	pass(engine, events)
	fmt.Printf("added %s %d %.0f %d\n", workload, len(patterns), float64(len(patterns))/adding, perRule)

	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		start, read, matches, spent := cpu(), 0, 0, 0.0
		for spent < seconds {
			matches = pass(engine, events)
			read += len(events)
			spent = cpu() - start
		}
		fmt.Printf("quamina-go %s %d %d %.0f %.1f %d\n",
			workload, len(patterns), read, float64(read)/spent, spent*1e9/float64(read), matches)
	}
}

// patternsOf gives the text of each pattern of a file; of one category, or of all ("-").
func patternsOf(rules, category string) []string {
	var patterns []string
	head := `{"category":"` + category + `",`
	for _, line := range strings.Split(rules, "\n") {
		_, pattern, found := strings.Cut(line, `"pattern":`)
		if found && (category == "-" || strings.HasPrefix(line, head)) {
			patterns = append(patterns, strings.TrimSuffix(pattern, "}"))
		}
	}
	return patterns
}

func pass(engine *quamina.Quamina, events [][]byte) int {
	matches := 0
	for _, event := range events {
		found, err := engine.MatchesForEvent(event)
		check(err)
		matches += len(found)
	}
	return matches
}

// cpu is the processor time of this process so far, in seconds.
func cpu() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func liveBytes() uint64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
