"""What ``offloop profile`` is made of: a watcher inside the measured process, py-spy and perf outside, words."""
