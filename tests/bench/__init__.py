"""What it costs, question by question: `invoke bench` measures, prints, and writes JSON and plots into .bench/.

A question is a module: `measure(lab)` returns plain data, `tables(data)` says it to a person, `draw(data, canvas)`
shows it. Whatever is compared is measured in turns in one run, so that a slow moment of the machine hits all alike, and
ratios are made within a turn. A time is a figure to read, never a condition; what cannot be measured is an error.
"""
