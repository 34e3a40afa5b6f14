"""What is wrong or slow where an app is to be served; nothing is started, changed or imported of the app's.

``examination`` has the list of checks, the other files the checks themselves: each a small function from a Case to
findings.
"""
